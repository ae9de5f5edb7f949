// Runs CUDA kernels on the CPU, for tests. The threads of a block are coroutines, which switch at
// barriers and at warp exchanges. With a seed, a random warp of a random block runs next, and the
// threads of a warp run in random order. Several blocks are resident, as on a GPU.
//
// Detected: a thread that misses a barrier, a write outside of a shared array, and an access to a
// page that is not mapped. Fresh shared memory holds garbage. Not detected: what depends on the
// order of memory accesses between two barriers, because each access is visible at once.
#pragma once
#undef _FORTIFY_SOURCE  // its longjmp refuses to change the stack
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda_types.h"

static Index threadIdx, blockIdx, blockDim, gridDim;

inline void __threadfence() {}
template <typename T> T atomicAdd(T* p, T value) { T old = *p; *p += value; return old; }

namespace emulator {
enum Failure { NONE, MISSED_BARRIER, OUTSIDE_OF_SHARED_ARRAY, OUTSIDE_OF_MEMORY };

const unsigned int WARP = 32, MAX_THREADS = 1024;
const size_t STACK_BYTES = 64 << 10;
const size_t GUARD_BYTES = 64, PAGE_BYTES = 4096;
const unsigned char GUARD = 0xc3;

// How the next launches run: see set_order, set_only_block and set_garbage.
uint64_t seed = 0;
unsigned int max_resident = 1;
unsigned char garbage = 0xa5;
int64_t only_block = -1;
size_t static_bytes;  // of a block of the last launch

inline unsigned int random_below(unsigned int n) {  // SplitMix64
    uint64_t x = seed += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return (unsigned int)(((x ^ x >> 31) >> 32) * n >> 32);
}

// A shared array with guard bytes on both sides, between two pages that nobody may access.
struct SharedArray {
    size_t size, n_page_bytes;
    char* pages;
    explicit SharedArray(size_t size) : size(size) {
        n_page_bytes = (size + 2 * GUARD_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        pages = (char*)mmap(nullptr, n_page_bytes + 2 * PAGE_BYTES, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(pages + PAGE_BYTES, n_page_bytes, PROT_READ | PROT_WRITE);
        memset(pages + PAGE_BYTES, GUARD, n_page_bytes);
        memset(data(), garbage, size);
    }
    ~SharedArray() { munmap(pages, n_page_bytes + 2 * PAGE_BYTES); }
    unsigned char* data() { return (unsigned char*)pages + PAGE_BYTES + GUARD_BYTES; }
    bool is_intact() {
        for (size_t i = 1; i <= GUARD_BYTES; i++)
            if (data()[-i] != GUARD || data()[size + i - 1] != GUARD) return false;
        return true;
    }
};

enum State { RUNS, AT_WARP, AT_BLOCK, FINISHED };

// A place for a resident block. Its coroutines are used again by the next block.
struct Slot {
    unsigned int block;
    State states[MAX_THREADS];
    unsigned char phases[MAX_THREADS];  // which of the two buffers of lanes is next
    uint64_t lanes[2][MAX_THREADS];
    std::vector<unsigned int> runnable;  // warps
    std::vector<std::unique_ptr<SharedArray>> shared;
    bool is_started[MAX_THREADS] = {};  // whether contexts[i] is a coroutine
    jmp_buf contexts[MAX_THREADS];
    char* stacks = nullptr;
};

std::vector<std::unique_ptr<Slot>> slots;
Slot* slot;  // of the thread that runs
size_t dynamic_bytes;
jmp_buf scheduler;
const std::function<void()>* kernel;
sigjmp_buf on_fault;

// Returns a shared array of the block that runs. Array 0 is the dynamic one.
inline void* shared_array(unsigned int number, size_t size) {
    if (slot->shared.size() <= number) slot->shared.resize(number + 1);
    if (!slot->shared[number]) slot->shared[number].reset(new SharedArray(size));
    return slot->shared[number]->data();
}
template <typename T, unsigned int number> T& shared() {
    return *(T*)shared_array(number, sizeof(T));
}
inline void* dynamic_shared() { return shared_array(0, dynamic_bytes); }

// Lets others run until all threads of the warp, or of the block, are here.
__attribute__((noinline)) void barrier(State kind) {
    unsigned int own = threadIdx.x;
    slot->states[own] = kind;
    if (!_setjmp(slot->contexts[own])) _longjmp(scheduler, 1);
}

inline void run_thread() {
    for (;;) {
        (*kernel)();
        barrier(FINISHED);
    }
}

__attribute__((noinline)) void resume(unsigned int thread) {
    slot->states[thread] = RUNS;
    threadIdx.x = thread;
    if (_setjmp(scheduler)) return;
    if (slot->is_started[thread]) _longjmp(slot->contexts[thread], 1);
    slot->is_started[thread] = true;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = slot->stacks + STACK_BYTES * thread;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, run_thread, 0);
    setcontext(&context);
}

// Runs a warp to its next barrier or exchange. Returns the state of all its threads, or RUNS if
// they are not all in the same one.
inline State run_warp(unsigned int warp) {
    unsigned int start = seed ? random_below(WARP) : 0, step = seed ? random_below(16) * 2 + 1 : 1;
    blockIdx.x = slot->block;
    for (unsigned int i = 0; i < WARP; i++) resume(warp * WARP + (start + step * i) % WARP);
    const State* states = slot->states + warp * WARP;
    for (unsigned int i = 1; i < WARP; i++)
        if (states[i] != states[0]) return RUNS;
    return states[0];
}

inline void begin_block(unsigned int block) {
    slot->block = block;
    slot->shared.clear();
    slot->runnable.clear();
    memset(slot->phases, 0, sizeof slot->phases);
    for (unsigned int warp = blockDim.x / WARP; warp-- > 0;) slot->runnable.push_back(warp);
}

inline bool all_are(State state) {
    return std::count(slot->states, slot->states + blockDim.x, state) == blockDim.x;
}

inline Failure run_grid() {
    std::vector<unsigned int> waiting, resident;
    if (only_block >= 0) waiting.push_back(only_block);
    else
        for (unsigned int i = gridDim.x; i-- > 0;) waiting.push_back(i);
    for (unsigned int i = waiting.size(); seed && i > 1; i--)
        std::swap(waiting[i - 1], waiting[random_below(i)]);
    std::vector<unsigned int> free_slots;
    for (unsigned int i = 0; i < max_resident; i++) free_slots.push_back(i);
    while (!waiting.empty() || !resident.empty()) {
        while (!waiting.empty() && !free_slots.empty()) {
            resident.push_back(free_slots.back());
            free_slots.pop_back();
            slot = slots[resident.back()].get();
            begin_block(waiting.back());
            waiting.pop_back();
        }
        unsigned int place = seed ? random_below(resident.size()) : 0;
        slot = slots[resident[place]].get();
        std::vector<unsigned int>& runnable = slot->runnable;
        unsigned int i = seed ? random_below(runnable.size()) : runnable.size() - 1;
        State state = run_warp(runnable[i]);
        if (state == AT_WARP) continue;
        if (state == RUNS) return MISSED_BARRIER;
        runnable.erase(runnable.begin() + i);
        if (!runnable.empty()) continue;
        if (all_are(AT_BLOCK)) {
            for (unsigned int warp = blockDim.x / WARP; warp-- > 0;) runnable.push_back(warp);
        } else if (all_are(FINISHED)) {
            size_t all_bytes = 0;
            for (auto& array : slot->shared) {
                if (array && !array->is_intact()) return OUTSIDE_OF_SHARED_ARRAY;
                if (array && array != slot->shared[0]) all_bytes += array->size;
            }
            static_bytes = std::max(static_bytes, all_bytes);
            free_slots.push_back(resident[place]);
            resident.erase(resident.begin() + place);
        } else return MISSED_BARRIER;
    }
    return NONE;
}

inline void handle_fault(int) { siglongjmp(on_fault, 1); }

inline Failure run_grid_and_catch_faults() {
    static char signal_stack[64 << 10];
    stack_t stack = {}, old_stack;
    stack.ss_sp = signal_stack, stack.ss_size = sizeof signal_stack;
    sigaltstack(&stack, &old_stack);
    struct sigaction action = {}, old_segv, old_bus;
    action.sa_handler = handle_fault, action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, &old_segv), sigaction(SIGBUS, &action, &old_bus);
    Failure failure = sigsetjmp(on_fault, 1) ? OUTSIDE_OF_MEMORY : run_grid();
    sigaction(SIGSEGV, &old_segv, nullptr), sigaction(SIGBUS, &old_bus, nullptr);
    sigaltstack(&old_stack, nullptr);
    return failure;
}

// Returns a Failure.
inline int launch(unsigned int grid, unsigned int block, size_t shared, std::function<void()> f) {
    kernel = &f;
    gridDim.x = grid, blockDim.x = block, dynamic_bytes = shared, static_bytes = 0;
    while (slots.size() < max_resident) {
        slots.emplace_back(new Slot);
        slots.back()->stacks = (char*)mmap(nullptr, STACK_BYTES * MAX_THREADS,
                                           PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    int failure = run_grid_and_catch_faults();
    if (failure)  // coroutines may stand anywhere
        for (auto& each : slots) memset(each->is_started, 0, sizeof each->is_started);
    return failure;
}

// The values of the 32 threads of the warp. A thread reads this buffer before the warp fills the
// other one, so one barrier is enough.
inline const uint64_t* exchange_in_warp(uint64_t value) {
    unsigned int own = threadIdx.x;
    uint64_t* lanes = slot->lanes[slot->phases[own] ^= 1];
    lanes[own] = value;
    barrier(AT_WARP);
    return lanes + own / WARP * WARP;
}
}  // namespace emulator

// Seed 0: blocks, warps and threads in rising order, one block after the other.
extern "C" void set_order(uint64_t seed, unsigned int max_resident) {
    emulator::seed = seed, emulator::max_resident = max_resident;
}
// The only block of the grid that runs, or -1 for all.
extern "C" void set_only_block(int64_t block) { emulator::only_block = block; }
// Bytes of static shared memory that a block of the last launch had.
extern "C" size_t get_static_shared_bytes() { return emulator::static_bytes; }
// The byte that fills fresh shared memory.
extern "C" void set_garbage(unsigned int byte) { emulator::garbage = byte; }

inline void __syncthreads() { emulator::barrier(emulator::AT_BLOCK); }

#include "warp_functions.h"
