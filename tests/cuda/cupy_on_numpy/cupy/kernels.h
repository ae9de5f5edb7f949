// What CuPy's kernels find in its headers, for g++.
#include <cmath>
#include <cstddef>
#include <cstdint>
using namespace std;

typedef int8_t int8;
typedef int16_t int16;
typedef int32_t int32;
typedef int64_t int64;
typedef uint8_t uint8;
typedef uint16_t uint16;
typedef uint32_t uint32;
typedef uint64_t uint64;
typedef _Float16 float16;
typedef float float32;
typedef double float64;
#define __device__
#define __forceinline__ inline

template <class A, class B>
auto max(A a, B b) -> decltype(a + b) {
    return a < b ? b : a;
}
template <class A, class B>
auto min(A a, B b) -> decltype(a + b) {
    return b < a ? b : a;
}
#define HALF(name) \
    inline float16 name(float16 x) { return (float16)::name##f((float)x); }
HALF(exp) HALF(log) HALF(sqrt) HALF(tanh) HALF(floor) HALF(ceil) HALF(fabs) HALF(log1p)
HALF(expm1)
inline float16 pow(float16 x, float16 y) { return (float16)::powf((float)x, (float)y); }
inline float rsqrt(float x) { return 1 / ::sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float16 rsqrt(float16 x) { return (float16)(1 / ::sqrtf((float)x)); }
inline bool isnan(float16 x) { return x != x; }
template <class T, class U>
T atomicAdd(T* p, U v) {
    T old = *p;
    *p += (T)v;
    return old;
}

// A raw array: contiguous, indexed by a number or by several.
template <class T>
struct CArray {
    T* p;
    const long* sizes;
    int n_dim;
    long n;
    template <class I>
    T& operator[](I i) const {
        return p[i];
    }
    template <class I, int N>
    T& operator[](const I (&index)[N]) const {
        long offset = 0;
        for (int k = 0; k < N; k++) offset = offset * sizes[k] + index[k];
        return p[offset];
    }
    long size() const { return n; }
    const long* shape() const { return sizes; }
};

// The indices of the element that the loop has reached.
struct Indexer {
    const long* sizes;
    int n_dim;
    long n;
    long index[16];
    long size() const { return n; }
    const long* get() const { return index; }
    void set(long i) {
        for (int k = n_dim - 1; k >= 0; k--) {
            index[k] = i % sizes[k];
            i /= sizes[k];
        }
    }
};
