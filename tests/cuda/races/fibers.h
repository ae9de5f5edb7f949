// Runs CUDA kernels under ThreadSanitizer. Each CUDA thread is a fiber, which ThreadSanitizer takes
// for a thread of its own. It replaces tests/functions/fused/emulator.h.
//
// What orders the accesses of two threads is only what CUDA promises:
// - __syncthreads orders all threads of a block;
// - a fence before an atomic operation, that operation, a later one on the same address, and a fence
//   after it order the accesses before the first fence and after the second one;
// - warp exchanges and votes order nothing. They do not imply a memory barrier.
// The order in which fibers run orders nothing either. It is random.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __launch_bounds__(n)

typedef _Float16 __half;
inline float __half2float(__half x) { return (float)x; }
inline __half __float2half(float x) { return (__half)x; }
inline unsigned int __float_as_uint(float x) { unsigned int y; memcpy(&y, &x, 4); return y; }
inline long long __double_as_longlong(double x) { long long y; memcpy(&y, &x, 8); return y; }
inline int __popc(unsigned int x) { return __builtin_popcount(x); }

struct Index { unsigned int x; };

// fibers.cpp has these functions. It is compiled without ThreadSanitizer, which sees the kernels only.
namespace emulator {
Index thread_index();
Index block_index();
Index block_dim();
Index grid_dim();
void block_barrier();
void warp_barrier();
void fence();
void before_atomic(const void* address);
void after_atomic(const void* address);
const uint64_t* exchange_in_warp(uint64_t value);  // the values of the 32 threads
void* shared_array(unsigned int number, size_t size);
void* dynamic_shared();
extern size_t dynamic_bytes;
int launch(unsigned int grid, unsigned int block, size_t shared, std::function<void()> kernel);

template <typename T, unsigned int number> T& shared() {
    return *(T*)shared_array(number, sizeof(T));
}
template <typename T> uint64_t pack(T value) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <typename T> T exchange(T value, int source) {
    uint64_t bits = exchange_in_warp(pack(value))[source];
    memcpy(&value, &bits, sizeof(T));
    return value;
}
}  // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_dim())
#define gridDim (emulator::grid_dim())

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp(unsigned int = ~0u) { emulator::warp_barrier(); }
inline void __threadfence() { emulator::fence(); }
template <typename T> T atomicAdd(T* p, T value) {
    emulator::before_atomic(p);
    T old = __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
    emulator::after_atomic(p);
    return old;
}
template <typename T> T __shfl_xor_sync(unsigned int, T value, int mask) {
    return emulator::exchange(value, (int)(threadIdx.x % 32) ^ mask);
}
template <typename T> T __shfl_up_sync(unsigned int, T value, int by) {
    int lane = threadIdx.x % 32;
    return emulator::exchange(value, lane < by ? lane : lane - by);
}
inline unsigned int __match_any_sync(unsigned int, int value) {
    const uint64_t* lanes = emulator::exchange_in_warp(emulator::pack(value));
    unsigned int mask = 0;
    for (int i = 0; i < 32; i++) mask |= (unsigned int)(lanes[i] == emulator::pack(value)) << i;
    return mask;
}
inline int __any_sync(unsigned int, int value) {
    const uint64_t* lanes = emulator::exchange_in_warp(value != 0);
    int any = 0;
    for (int i = 0; i < 32; i++) any |= (int)lanes[i];
    return any;
}
