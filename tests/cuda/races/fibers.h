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

#include "../../functions/fused/cuda_types.h"

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

#include "../../functions/fused/warp_functions.h"
