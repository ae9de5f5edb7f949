// The scheduler of fibers.h, and a program that runs one launch. All blocks are resident.
//
// Usage: program LAUNCH RESULT SEED. The file LAUNCH holds the name of the kernel, the grid, the
// block, the bytes of dynamic shared memory, and the arguments. RESULT receives the arguments
// afterwards. See launch_file.py.
#include "fibers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned int flags);
void __tsan_switch_to_fiber(void* fiber, unsigned int flags);
void __tsan_acquire(void* object);
void __tsan_release(void* object);
}

namespace emulator {
const unsigned int WARP = 32;
const size_t STACK_BYTES = 64 << 10;
const unsigned int NO_ORDER = 1;  // a switch that does not order the two fibers

typedef char SyncObject[8];
enum State { RUNS, AT_WARP, AT_BLOCK, FINISHED };

struct Block;
struct Thread {
    Block* block;
    unsigned int index;
    State state = RUNS;
    ucontext_t context;
    void* fiber;
    bool is_started = false;
    unsigned int n_exchange = 0, n_block_barrier = 0, n_warp_barrier = 0;
    // Memory order. `courier` carries what the last fence has seen to an atomic, and back. So what
    // the thread does between a fence and an atomic operation is not published.
    void* courier = nullptr;
    SyncObject fenced, received;
    bool has_fenced = false, has_received = false;
};
struct Warp {
    uint64_t lanes[2][WARP];
    SyncObject barriers[2];
};
struct Block {
    unsigned int index;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned int> runnable;  // warps
    std::vector<void*> shared;
    SyncObject barriers[2];
};

std::vector<Block> blocks;
Thread* current;
unsigned int n_thread, n_block;
size_t dynamic_bytes;
ucontext_t scheduler;
void* host;
const std::function<void()>* kernel;
std::mt19937 random_numbers;
std::map<const void*, SyncObject*> atomics;
SyncObject end_of_launch;

Index thread_index() { return {current->index}; }
Index block_index() { return {current->block->index}; }
Index block_dim() { return {n_thread}; }
Index grid_dim() { return {n_block}; }
Warp& warp() { return current->block->warps[current->index / WARP]; }

unsigned int random_below(unsigned int n) { return random_numbers() % n; }

// Fresh pages, which no other thread has used. ThreadSanitizer takes malloc and mmap for accesses of
// the thread that calls them. It does not notice the system call.
void* map_memory(size_t size) {
    long address = syscall(SYS_mmap, nullptr, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address < 0) abort();
    return (void*)address;
}

void wait(State state) {
    Thread* own = current;
    own->state = state;
    __tsan_switch_to_fiber(host, NO_ORDER);
    swapcontext(&own->context, &scheduler);
    current = own;
}

// Two objects take turns: a thread may arrive at the next barrier before another one has left this
// one, and what it has done in between must stay without order.
void wait_in_order(State state, SyncObject (&barriers)[2], unsigned int& number) {
    SyncObject& barrier = barriers[number++ % 2];
    __tsan_release(barrier);
    wait(state);
    __tsan_acquire(barrier);
}
void block_barrier() {
    wait_in_order(AT_BLOCK, current->block->barriers, current->n_block_barrier);
}
void warp_barrier() { wait_in_order(AT_WARP, warp().barriers, current->n_warp_barrier); }

const uint64_t* exchange_in_warp(uint64_t value) {
    // A thread reads this buffer before the warp fills the other one.
    uint64_t* lanes = warp().lanes[current->n_exchange++ % 2];
    lanes[current->index % WARP] = value;
    wait(AT_WARP);
    return lanes;
}

void make_courier() {  // it begins with all that the thread has seen until now
    if (!current->courier) current->courier = __tsan_create_fiber(0);
}
void fence() {
    if (current->has_received) __tsan_acquire(current->received);
    make_courier();
    __tsan_release(current->fenced);
    current->has_fenced = true;
}

// Carries the order from one object to another one, without the thread itself.
void carry(void* from, void* to) {
    Thread* own = current;
    __tsan_switch_to_fiber(own->courier, NO_ORDER);
    __tsan_acquire(from);
    __tsan_release(to);
    __tsan_switch_to_fiber(own->fiber, NO_ORDER);
}

void* object_of(const void* address) {
    SyncObject*& object = atomics[address];
    if (!object) object = (SyncObject*)map_memory(sizeof *object);
    return object;
}
void before_atomic(const void* address) {
    if (current->has_fenced) carry(current->fenced, object_of(address));
}
void after_atomic(const void* address) {
    if (!atomics.count(address)) return;
    make_courier();
    carry(object_of(address), current->received);
    current->has_received = true;
}

void* shared_array(unsigned int number, size_t size) {
    std::vector<void*>& shared = current->block->shared;
    if (!shared[number]) {
        shared[number] = map_memory(size);
        for (size_t i = 0; i < size; i++) ((volatile unsigned char*)shared[number])[i] = 0xa5;
    }
    return shared[number];
}
void* dynamic_shared() { return shared_array(0, dynamic_bytes + 1); }

void run_thread() {
    (*kernel)();
    __tsan_release(end_of_launch);  // the host reads the results
    wait(FINISHED);
}

// Runs a thread to its next barrier or exchange.
void resume(Thread& thread) {
    thread.state = RUNS;
    current = &thread;
    __tsan_switch_to_fiber(thread.fiber, NO_ORDER);
    if (thread.is_started) {
        swapcontext(&scheduler, &thread.context);
        return;
    }
    thread.is_started = true;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = map_memory(STACK_BYTES);
    thread.context.uc_stack.ss_size = STACK_BYTES;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, run_thread, 0);
    swapcontext(&scheduler, &thread.context);
}

// Returns whether all threads are in the state of the first one.
bool agree(const std::vector<Thread>& threads, unsigned int begin, unsigned int end) {
    for (unsigned int i = begin; i < end; i++)
        if (threads[i].state != threads[begin].state) return false;
    return true;
}

// Returns false if threads of a warp or of a block do not reach the same barrier.
bool run_random_warp(Block& block) {
    unsigned int place = random_below(block.runnable.size()), first = block.runnable[place] * WARP;
    unsigned int start = random_below(WARP), step = random_below(WARP / 2) * 2 + 1;
    for (unsigned int i = 0; i < WARP; i++)
        resume(block.threads[first + (start + step * i) % WARP]);
    if (!agree(block.threads, first, first + WARP)) return false;
    if (block.threads[first].state == AT_WARP) return true;
    block.runnable.erase(block.runnable.begin() + place);
    if (!block.runnable.empty()) return true;
    if (!agree(block.threads, 0, n_thread)) return false;
    if (block.threads[0].state == AT_BLOCK)
        for (unsigned int i = 0; i < n_thread / WARP; i++) block.runnable.push_back(i);
    return true;
}

int launch(unsigned int grid, unsigned int block, size_t shared, std::function<void()> function) {
    kernel = &function, n_block = grid, n_thread = block, dynamic_bytes = shared;
    host = __tsan_get_current_fiber();
    blocks.resize(grid);
    std::vector<Block*> running;
    for (unsigned int i = 0; i < grid; i++) {
        blocks[i].index = i;
        blocks[i].threads.resize(block);
        blocks[i].warps.resize(block / WARP);
        blocks[i].shared.resize(64);
        for (unsigned int t = 0; t < block; t++) {
            blocks[i].threads[t].block = &blocks[i], blocks[i].threads[t].index = t;
            blocks[i].threads[t].fiber = __tsan_create_fiber(0);
        }
        for (unsigned int w = 0; w < block / WARP; w++) blocks[i].runnable.push_back(w);
        running.push_back(&blocks[i]);
    }
    while (!running.empty()) {
        unsigned int i = random_below(running.size());
        if (!run_random_warp(*running[i])) return 1;
        if (running[i]->runnable.empty()) running.erase(running.begin() + i);
    }
    __tsan_acquire(end_of_launch);
    return 0;
}
}  // namespace emulator

typedef int Launcher(unsigned int grid, unsigned int block, size_t shared, void** args);
Launcher* find_kernel(const std::string& name);

static std::string read_bytes(std::ifstream& file) {
    uint64_t size = 0;
    file.read((char*)&size, sizeof size);
    std::string bytes(size, 0);
    file.read(&bytes[0], size);
    return bytes;
}

int main(int, char** arguments) {
    std::ifstream file(arguments[1], std::ios::binary);
    std::string name = read_bytes(file), sizes = read_bytes(file), is_array = read_bytes(file);
    std::vector<void*> values, pointers;
    std::vector<size_t> n_bytes;
    for (char array : is_array) {
        std::string bytes = read_bytes(file);
        void* value = emulator::map_memory(bytes.size() + 8);
        memcpy(value, bytes.data(), bytes.size());
        values.push_back(value), n_bytes.push_back(bytes.size());
    }
    for (size_t i = 0; i < values.size(); i++)  // an array is handed over by its address
        pointers.push_back(is_array[i] ? (void*)&values[i] : values[i]);
    uint64_t size[3];
    memcpy(size, sizes.data(), sizeof size);
    emulator::random_numbers.seed(atoi(arguments[3]));
    int failure = find_kernel(name)(size[0], size[1], size[2], pointers.data());
    std::ofstream result(arguments[2], std::ios::binary);
    for (size_t i = 0; i < values.size(); i++)
        if (is_array[i]) result.write((char*)values[i], n_bytes[i]);
    result.close();
    fflush(nullptr);
    _exit(failure ? 3 : 0);  // fibers stand anywhere
}
