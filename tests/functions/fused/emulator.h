// Runs CUDA kernels on the CPU, for tests. The threads of a block are coroutines, which switch at
// barriers and at warp exchanges. A thread that misses a barrier is detected. Blocks run one after
// the other, and so do threads between two barriers. Hence races are not detected.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(n)

struct Index { unsigned int x; };
static Index threadIdx, blockIdx, blockDim, gridDim;

typedef _Float16 __half;
inline float __half2float(__half x) { return (float)x; }
inline __half __float2half(float x) { return (__half)x; }
inline unsigned int __float_as_uint(float x) { unsigned int y; memcpy(&y, &x, 4); return y; }
inline long long __double_as_longlong(double x) { long long y; memcpy(&y, &x, 8); return y; }
inline int __popc(unsigned int x) { return __builtin_popcount(x); }
inline void __threadfence() {}
template <typename T> T atomicAdd(T* p, T value) { T old = *p; *p += value; return old; }

namespace emulator {
std::vector<uint64_t> dynamic_memory;
std::vector<ucontext_t> contexts;
std::vector<char> stacks;
enum State { RUNS, AT_WARP, AT_BLOCK, FINISHED };
std::vector<State> states;
ucontext_t scheduler;
uint64_t lanes[1024];
const std::function<void()>* kernel;

// Blocks until all threads of the warp, or of the block, are here.
inline void barrier(State kind) {
    unsigned int own = threadIdx.x;
    states[own] = kind;
    swapcontext(&contexts[own], &scheduler);
    threadIdx.x = own;
}

inline void run_thread() {
    (*kernel)();
    barrier(FINISHED);
}

inline bool all(unsigned int begin, unsigned int end, State state) {
    return std::count(states.begin() + begin, states.begin() + end, state) == end - begin;
}

inline bool run_block(unsigned int block) {
    states.assign(block, RUNS);
    while (!all(0, block, FINISHED)) {
        for (unsigned int warp = 0; warp < block; warp += 32) {
            do {
                for (unsigned int t = warp; t < warp + 32; t++)
                    if (states[t] == RUNS || states[t] == AT_WARP) {
                        states[t] = RUNS;
                        threadIdx.x = t;
                        swapcontext(&scheduler, &contexts[t]);
                    }
            } while (all(warp, warp + 32, AT_WARP));
            if (!all(warp, warp + 32, AT_BLOCK) && !all(warp, warp + 32, FINISHED)) return false;
        }
        if (all(0, block, AT_BLOCK)) states.assign(block, RUNS);
        else if (!all(0, block, FINISHED)) return false;
    }
    return true;
}

// Returns 1 if threads of a block do not reach the same barrier, else 0.
inline int launch(unsigned int grid, unsigned int block, size_t shared, std::function<void()> f) {
    const size_t size = 64 << 10;
    dynamic_memory.assign(shared / 8 + 1, 0xdeadbeefdeadbeefull);
    stacks.resize(size * block);
    contexts.resize(block);
    kernel = &f;
    gridDim.x = grid, blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++) {
        for (unsigned int t = 0; t < block; t++) {
            getcontext(&contexts[t]);
            contexts[t].uc_stack.ss_sp = stacks.data() + size * t;
            contexts[t].uc_stack.ss_size = size;
            contexts[t].uc_link = &scheduler;
            makecontext(&contexts[t], run_thread, 0);
        }
        if (!run_block(block)) return 1;
    }
    return 0;
}

template <typename T> T exchange(T value, int source) {
    uint64_t own = 0;
    memcpy(&own, &value, sizeof(T));
    lanes[threadIdx.x] = own;
    barrier(AT_WARP);
    memcpy(&value, &lanes[threadIdx.x / 32 * 32 + source], sizeof(T));
    barrier(AT_WARP);
    return value;
}
}  // namespace emulator

inline void __syncthreads() { emulator::barrier(emulator::AT_BLOCK); }
template <typename T> T __shfl_xor_sync(unsigned int, T value, int mask) {
    return emulator::exchange(value, (int)(threadIdx.x % 32) ^ mask);
}
template <typename T> T __shfl_up_sync(unsigned int, T value, int by) {
    int lane = threadIdx.x % 32;
    return emulator::exchange(value, lane < by ? lane : lane - by);
}
inline unsigned int __match_any_sync(unsigned int, int value) {
    emulator::lanes[threadIdx.x] = (uint64_t)value;
    emulator::barrier(emulator::AT_WARP);
    unsigned int mask = 0;
    for (int i = 0; i < 32; i++)
        mask |= (unsigned int)((int)emulator::lanes[threadIdx.x / 32 * 32 + i] == value) << i;
    emulator::barrier(emulator::AT_WARP);
    return mask;
}
inline int __any_sync(unsigned int, int value) {
    emulator::lanes[threadIdx.x] = value != 0;
    emulator::barrier(emulator::AT_WARP);
    int any = 0;
    for (int i = 0; i < 32; i++) any |= (int)emulator::lanes[threadIdx.x / 32 * 32 + i];
    emulator::barrier(emulator::AT_WARP);
    return any;
}
