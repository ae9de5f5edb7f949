// The multibox loss in three kernels: the loss of each box, the choice of rows with their sums, and
// both gradients. Rows are boxes; an image's rows follow each other. Every kernel takes any grid
// and any block that is a multiple of 32 and at most 1024.
#include <cuda_fp16.h>

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef unsigned long long uint64;

#define WARP 0xffffffffu

// Sums are made in float, or in double for double. A key orders losses as unsigned integers.
template <typename T> struct Accumulator { typedef float type; };
template <> struct Accumulator<double> { typedef double type; };
template <typename A> struct Key;
template <> struct Key<float> { typedef uint32 type; };
template <> struct Key<double> { typedef uint64 type; };

__device__ inline float load(const float* p) { return *p; }
__device__ inline double load(const double* p) { return *p; }
__device__ inline float load(const __half* p) { return __half2float(*p); }
__device__ inline void store(float* p, float x) { *p = x; }
__device__ inline void store(double* p, double x) { *p = x; }
__device__ inline void store(__half* p, float x) { *p = __float2half(x); }

__device__ inline uint32 bits(float x) { return __float_as_uint(x); }
__device__ inline uint64 bits(double x) { return (uint64)__double_as_longlong(x); }

// Rising with the loss; 0 is left for what is not a negative. NaN is the largest; -0 equals 0.
template <typename A>
__device__ inline typename Key<A>::type make_key(A loss, int label) {
    typedef typename Key<A>::type K;
    const K sign = (K)1 << (8 * sizeof(K) - 1);
    if (label != 0) return 0;
    if (loss != loss) return ~(K)0;
    K key = bits(loss + (A)0);
    return key & sign ? ~key : key | sign;
}

// Maximum and sum of exp(x - maximum) of a row, by `lanes` neighbouring threads, which all get
// both. All threads of a warp call it; `active` says whether this one's row is there.
template <typename T, typename A>
__device__ inline void log_sum_exp(const T* x, int n_class, int lane, int lanes, bool active,
                                   A& maximum, A& total) {
    maximum = active ? load(x) : (A)0;
    total = 0;
    if (active)
        for (int c = lane; c < n_class; c += lanes) {
            A value = load(x + c);
            if (!(value <= maximum)) maximum = value;  // NaN may come and go; it stays in the total
        }
    for (int o = lanes / 2; o; o /= 2) {
        A other = __shfl_xor_sync(WARP, maximum, o);
        if (!(other <= maximum)) maximum = other;
    }
    if (active)
        for (int c = lane; c < n_class; c += lanes) total += exp(load(x + c) - maximum);
    for (int o = lanes / 2; o; o /= 2) total += __shfl_xor_sync(WARP, total, o);
}

// loss[row]: cross entropy of the row with its own label. Ignored rows are not looked at.
template <typename T>
__global__ void box_losses(const T* confs, const int* label, int n_row, int n_class, int lanes,
                           typename Accumulator<T>::type* loss, uint32* finished) {
    typedef typename Accumulator<T>::type A;
    if (blockIdx.x == 0 && threadIdx.x == 0) *finished = 0;  // for choose_rows, which comes next
    int lane = threadIdx.x % lanes;
    int step = gridDim.x * (blockDim.x / lanes);
    int first = blockIdx.x * (blockDim.x / lanes);
    for (int base = first; base < n_row; base += step) {  // the same for the whole block
        int row = base + threadIdx.x / lanes;
        bool active = row < n_row && label[row] >= 0;
        const T* x = confs + (size_t)row * n_class;
        A maximum, total;
        log_sum_exp(x, n_class, lane, lanes, active, maximum, total);
        if (active && lane == 0)
            loss[row] = label[row] < n_class ? log(total) - (load(x + label[row]) - maximum)
                                             : log((A)-1);  // no such class: NaN
    }
}

template <typename V>
__device__ inline V warp_sum(V value) {
    for (int o = 16; o; o /= 2) value += __shfl_xor_sync(WARP, value, o);
    return value;
}

// Sum over the block, in the same order every time; every thread gets it.
template <typename V>
__device__ inline V block_sum(V value, V* scratch) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : 0;
    return warp_sum(value);
}

// Sum over the threads before this one.
__device__ inline int block_rank(int value, int* scratch) {
    int lane = threadIdx.x % 32, sum = value;
    for (int o = 1; o < 32; o *= 2) {
        int other = __shfl_up_sync(WARP, sum, o);
        if (lane >= o) sum += other;
    }
    __syncthreads();
    if (lane == 31) scratch[threadIdx.x / 32] = sum;
    __syncthreads();
    int before = lane < threadIdx.x / 32 ? scratch[lane] : 0;
    return warp_sum(before) + sum - value;
}

#define DIGIT 11
#define BINS (1 << DIGIT)

// One block for an image. selected[row]: whether the row is positive or a hard negative; sums[image]
// = Huber loss of the positives, loss of the selected, number of positives. The block that finishes
// last adds these up: result = both losses (divided by the count if `divide`), count.
// With `in_shared` the dynamic shared memory holds n_box keys; else they are made anew each time.
template <typename T>
__global__ void __launch_bounds__(1024)
choose_rows(const T* locs, const typename Accumulator<T>::type* gt_locs, const int* label,
            const typename Accumulator<T>::type* loss, int n_box, double k, int in_shared,
            int divide, uint8* selected, double* sums, uint32* finished,
            typename Accumulator<T>::type* result, double* count) {
    typedef typename Accumulator<T>::type A;
    typedef typename Key<A>::type K;
    extern __shared__ uint64 dynamic[];
    __shared__ int bins[BINS];
    __shared__ int scratch[32];
    __shared__ double scratch_d[32];
    __shared__ K found;
    __shared__ int left, last;
    K* keys = (K*)dynamic;

    size_t offset = (size_t)blockIdx.x * n_box;
    locs += 4 * offset, gt_locs += 4 * offset, label += offset, loss += offset, selected += offset;

    int n_positive = 0, n_negative = 0;
    for (int i = threadIdx.x; i < n_box; i += blockDim.x) {
        n_positive += label[i] > 0;
        n_negative += label[i] == 0;
        if (in_shared) keys[i] = make_key(loss[i], label[i]);
    }
    n_positive = block_sum(n_positive, scratch);
    n_negative = block_sum(n_negative, scratch);
    double wanted = ceil(k * n_positive);
    int n_hard = wanted < n_negative ? (int)wanted : n_negative;

    // Radix selection of the n_hard-th largest key, the highest digit first: `prefix` are the
    // digits that are known, `rank` its place among the keys that begin with them.
    K prefix = 0;
    int rank = n_hard, n_equal = 0;
    for (int low = 8 * sizeof(K); n_hard > 0 && low > 0;) {
        int high = low;
        low = low > DIGIT ? low - DIGIT : 0;
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;
        __syncthreads();
        int end = (n_box + 31) / 32 * 32;  // whole warps, for the vote
        for (int i = threadIdx.x; i < end; i += blockDim.x) {
            K key = i < n_box ? in_shared ? keys[i] : make_key(loss[i], label[i]) : 0;
            bool counts = key != 0 && (high == 8 * sizeof(K) || (key ^ prefix) >> high == 0);
            int bin = counts ? (int)((key >> low) & (((K)1 << (high - low)) - 1)) : -1;
            // Losses crowd in few bins: one atomic for all lanes of a warp that have the same.
            uint32 same = __match_any_sync(WARP, bin);
            if (counts && (same & ((1u << threadIdx.x % 32) - 1)) == 0)
                atomicAdd(&bins[bin], __popc(same));
        }
        __syncthreads();
        int per_thread = (BINS + blockDim.x - 1) / blockDim.x, own = 0;
        int top = BINS - 1 - threadIdx.x * per_thread;
        for (int b = top; b > top - per_thread && b >= 0; b--) own += bins[b];
        int above = block_rank(own, scratch);
        if (above < rank && rank <= above + own)  // in one of this thread's bins, and nobody else's
            for (int b = top;; b--) {
                if (rank <= above + bins[b]) {
                    found = prefix | (K)b << low;
                    left = rank - above;
                    n_equal = bins[b];
                    last = n_equal;
                    break;
                }
                above += bins[b];
            }
        __syncthreads();
        prefix = found, rank = left, n_equal = last;
        __syncthreads();
    }

    // Now prefix is the least key that is chosen: of n_equal boxes that have it the first `rank`.
    A loc_loss = 0, conf_loss = 0;
    int end = (n_box + blockDim.x - 1) / blockDim.x * blockDim.x, taken = 0;
    for (int i = threadIdx.x; i < end; i += blockDim.x) {
        K key = i < n_box ? in_shared ? keys[i] : make_key(loss[i], label[i]) : 0;
        bool equal = n_hard > 0 && key == prefix && key != 0;
        bool hard = n_hard > 0 && (key > prefix || equal);
        if (rank < n_equal) {  // the same for the whole block
            int before = taken + block_rank(equal, scratch);
            taken += block_sum((int)equal, scratch);
            if (equal && before >= rank) hard = false;
        }
        if (i < n_box) {
            bool positive = label[i] > 0;
            selected[i] = positive || hard;
            if (positive || hard) conf_loss += loss[i];
            if (positive)
                for (int c = 0; c < 4; c++) {
                    A d = load(locs + 4 * (size_t)i + c) - gt_locs[4 * (size_t)i + c];
                    A size = d < 0 ? -d : d;
                    loc_loss += size < 1 ? d * d / 2 : size - (A)0.5;
                }
        }
    }
    double loc = block_sum((double)loc_loss, scratch_d);
    double conf = block_sum((double)conf_loss, scratch_d);

    if (threadIdx.x == 0) {
        double* own = sums + 3 * (size_t)blockIdx.x;
        own[0] = loc, own[1] = conf, own[2] = n_positive;
        __threadfence();
        last = atomicAdd(finished, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    double total[3] = {0, 0, 0};
    const volatile double* all = sums;
    for (int image = threadIdx.x; image < gridDim.x; image += blockDim.x)
        for (int j = 0; j < 3; j++) total[j] += all[3 * (size_t)image + j];
    for (int j = 0; j < 3; j++) total[j] = block_sum(total[j], scratch_d);
    if (threadIdx.x == 0) {
        double n = divide && total[2] > 0 ? total[2] : 1;
        result[0] = (A)(total[0] / n), result[1] = (A)(total[1] / n);
        *count = total[2];
    }
}

// Both gradients, each element written once; one that is not asked for is null, with its scale.
template <typename T>
__global__ void gradients(const T* locs, const T* confs,
                          const typename Accumulator<T>::type* gt_locs, const int* label,
                          const uint8* selected, int n_row, int n_class, int lanes,
                          const typename Accumulator<T>::type* g_loc,
                          const typename Accumulator<T>::type* g_conf, const double* count,
                          T* g_locs, T* g_confs) {
    typedef typename Accumulator<T>::type A;
    A n = *count > 0 ? (A)*count : (A)1;
    A loc_scale = g_locs ? *g_loc / n : (A)0, conf_scale = g_confs ? *g_conf / n : (A)0;
    int lane = threadIdx.x % lanes;
    int step = gridDim.x * (blockDim.x / lanes);
    int first = blockIdx.x * (blockDim.x / lanes);
    for (int base = first; base < n_row; base += step) {  // the same for the whole block
        int row = base + threadIdx.x / lanes;
        bool there = row < n_row, active = there && selected[row];
        size_t at = (size_t)row * n_class;
        if (g_locs && there && lane < 4) {
            size_t i = 4 * (size_t)row + lane;
            A value = 0;
            if (label[row] > 0) {  // Huber: d between -1 and 1, else the sign of d
                A d = load(locs + i) - gt_locs[i];
                value = (d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale;
            }
            store(g_locs + i, value);
        }
        if (!g_confs) continue;
        A maximum = 0, total = 1;
        if (__any_sync(WARP, active))
            log_sum_exp(confs + at, n_class, lane, lanes, active, maximum, total);
        if (there)
            for (int c = lane; c < n_class; c += lanes) {
                A value = 0;
                if (active) {
                    value = exp(load(confs + at + c) - maximum) / total;
                    value = (c == label[row] ? value - 1 : value) * conf_scale;
                }
                store(g_confs + at + c, value);
            }
    }
}
