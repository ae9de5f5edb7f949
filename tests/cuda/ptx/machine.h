// What the C++ that is made of PTX needs: registers, conversions, and the shared memory window.
// It stands on the emulator of tests/functions/fused/emulator.h, which runs the threads, or on that of
// tests/cuda/races/fibers.h.
// "PTX ISA" is NVIDIA's "Parallel Thread Execution ISA", version 9.
#pragma once
#include <fenv.h>

#include <limits>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef _Float16 f16;
typedef float f32;
typedef double f64;

// A register holds bits. An instruction gives them a type. It may read the low part only.
template <typename T, typename R> inline T read(R r) {
    static_assert(sizeof(T) <= sizeof(R), "the instruction reads more than the register has");
    T value;
    memcpy(&value, &r, sizeof value);
    return value;
}

// Integers are extended to the width of the register: with their sign if they have one.
template <typename R, typename T> inline R write(T value) {
    static_assert(sizeof(T) <= sizeof(R), "the instruction writes more than the register has");
    if constexpr (std::is_integral<T>::value) return (R)value;
    R r = 0;
    memcpy(&r, &value, sizeof value);
    return r;
}

// .ftz: numbers below the smallest normal one become 0 and keep their sign.
inline f32 ftz(f32 x) { return fabsf(x) < 0x1p-126f ? copysignf(0.f, x) : x; }

template <typename T> inline T ptx_max(T a, T b) {  // a NaN loses (PTX ISA, max)
    return a != a ? b : b != b ? a : a < b ? b : a;
}
template <typename T> inline T ptx_min(T a, T b) { return a != a ? b : b != b ? a : b < a ? b : a; }

// fma.rm rounds down. `volatile` keeps the compiler from moving the computation.
inline f32 fma_down(f32 a, f32 b, f32 c) {
    volatile f32 x = a, y = b, z = c;
    fesetround(FE_DOWNWARD);
    volatile f32 result = fmaf(x, y, z);
    fesetround(FE_TONEAREST);
    return result;
}

// rcp.approx.ftz.f64 reads and computes the upper half of the number only.
inline f64 reciprocal_of_upper_half(f64 x) {
    f64 reciprocal = 1 / read<f64>(write<u64>(x) & ~(u64)0xffffffff);
    return read<f64>(write<u64>(reciprocal) & ~(u64)0xffffffff);
}

// Shifts by the width or more give 0, or the sign (PTX ISA, shl and shr).
template <typename T> inline T shift_left(T x, u32 n) { return n < 8 * sizeof(T) ? x << n : 0; }
template <typename T> inline T shift_right(T x, u32 n) {
    return n < 8 * sizeof(T) ? x >> n : x < 0 ? -1 : 0;
}

inline u32 reverse_bits(u32 x) {  // PTX ISA, brev
    u32 reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
// By how much to shift the highest set bit to the left end (PTX ISA, bfind.shiftamt).
inline u32 shift_of_highest_bit(u32 x) { return x ? __builtin_clz(x) : ~(u32)0; }

template <typename T> inline T multiply_high(T a, T b) {
    typedef typename std::conditional<std::is_signed<T>::value, __int128, unsigned __int128>::type W;
    return (T)((W)a * (W)b >> 8 * sizeof(T));
}

template <typename T> inline T insert_bits(T a, T b, u32 position, u32 length) {  // PTX ISA, bfi
    position &= 0xff, length &= 0xff;
    T mask = shift_left<T>(length >= 8 * sizeof(T) ? ~(T)0 : shift_left<T>(1, length) - 1, position);
    return (b & ~mask) | (shift_left<T>(a, position) & mask);
}

// A number outside of the range becomes the nearest one in it. A NaN becomes 0, or the highest bit
// alone where either side has 64 bits (PTX ISA, cvt).
template <typename I, typename F> inline I to_integer(F x) {
    typedef std::numeric_limits<I> limits;
    if (x != x) return sizeof(F) == 8 || sizeof(I) == 8 ? (I)((I)1 << (8 * sizeof(I) - 1)) : 0;
    if (x <= (F)limits::min()) return limits::min();
    if (x >= (F)limits::max()) return limits::max();
    return (I)x;
}

// A volatile access is not left out and not moved, as in PTX.
template <typename T, bool is_volatile> inline T load(const void* address) {
    if (is_volatile) return *(const volatile T*)address;
    T value;
    memcpy(&value, address, sizeof value);
    return value;
}

// A warp exchange: lane `source` if it lies in the segment that `clamp` describes.
enum Shuffle { IDX, UP, DOWN, BFLY };
template <Shuffle kind> inline u32 shuffle(u32 value, u32 b, u32 c, bool& is_inside) {
    int lane = threadIdx.x % 32, mask = c >> 8 & 31, clamp = c & 31;
    int low = lane & mask, high = low | (clamp & ~mask), by = b & 31;
    int source = kind == UP ? lane - by : kind == DOWN ? lane + by : kind == BFLY ? lane ^ by
                                                                    : low | (by & ~mask);
    is_inside = kind == UP ? source >= high : source <= high;
    return emulator::exchange(value, is_inside ? source : lane);
}

// PTX addresses shared memory by 32-bit offsets. Static variables come first, and the dynamic array
// stands far behind them. An address outside of both is null, and the emulator reports the fault.
const u32 DYNAMIC_OFFSET = 1 << 24;
inline char* shared_address(u32 offset, u32 n_byte, u32 n_static_byte) {
    if (offset < DYNAMIC_OFFSET) {
        if (offset % n_byte || offset + n_byte > n_static_byte) return nullptr;
        return (char*)emulator::shared_array(1, n_static_byte) + offset;
    }
    offset -= DYNAMIC_OFFSET;
    if (offset % n_byte || offset + n_byte > emulator::dynamic_bytes) return nullptr;
    return (char*)emulator::dynamic_shared() + offset;
}
// Global memory: an instruction needs an address that is a multiple of its size.
inline char* global_address(u64 address, u32 n_byte) {
    return address % n_byte ? nullptr : (char*)address;
}

// Atomic operations. Under ThreadSanitizer they are atomic for it as well: see races/fibers.h.
template <typename T, typename Update> inline T update_atomically(T* p, Update update) {
#ifdef __SANITIZE_THREAD__
    emulator::before_atomic(p);
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(p, &old, update(old), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {}
    emulator::after_atomic(p);
    return old;
#else
    T old = *p;
    *p = update(old);
    return old;
#endif
}
