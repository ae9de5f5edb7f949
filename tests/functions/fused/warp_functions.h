// CUDA's exchanges between the threads of a warp. They need `threadIdx` and
// `const uint64_t* emulator::exchange_in_warp(uint64_t)`, which returns the values of the 32 threads.
#pragma once
#include <stdint.h>
#include <string.h>

namespace emulator {
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
inline unsigned int __ballot_sync(unsigned int, int value) {
    const uint64_t* lanes = emulator::exchange_in_warp(value != 0);
    unsigned int mask = 0;
    for (int i = 0; i < 32; i++) mask |= (unsigned int)lanes[i] << i;
    return mask;
}
inline int __any_sync(unsigned int, int value) { return __ballot_sync(~0u, value) != 0; }
