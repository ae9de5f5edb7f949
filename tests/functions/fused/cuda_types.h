// CUDA's keywords, its half, and its functions of numbers, for g++.
#pragma once
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __launch_bounds__(n)

struct Index { unsigned int x; };

typedef _Float16 __half;
inline float __half2float(__half x) { return (float)x; }
inline __half __float2half(float x) { return (__half)x; }
inline unsigned int __float_as_uint(float x) { unsigned int y; memcpy(&y, &x, 4); return y; }
inline long long __double_as_longlong(double x) { long long y; memcpy(&y, &x, 8); return y; }
inline int __popc(unsigned int x) { return __builtin_popcount(x); }
inline int __ffs(unsigned int x) { return __builtin_ffs(x); }
