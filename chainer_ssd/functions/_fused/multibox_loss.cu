// The multibox loss in three kernels: the loss of each box, the selection of rows with both sums,
// and both gradients. A row is a box. The rows of an image are contiguous. The block size must be a
// multiple of 32 and at most 1024, and the grid size is free. See "CUDA kernels" in
// docs/explanation/fast-loss.md.
#include <cuda_fp16.h>

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef unsigned long long uint64;

#define FULL_WARP 0xffffffffu

// Type of sums: float, and double for double. Type of keys: unsigned integers of the same size.
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

// An unsigned integer that increases with the loss of a negative. NaN has the largest key, and -0
// has that of 0. Other boxes have the smallest keys: 0 if they are ignored, and POSITIVE.
#define POSITIVE 1
template <typename A>
__device__ inline typename Key<A>::type make_key(A loss, int label) {
    typedef typename Key<A>::type K;
    const K sign = (K)1 << (8 * sizeof(K) - 1);
    if (label != 0) return label > 0 ? POSITIVE : 0;
    if (loss != loss) return ~(K)0;
    K key = bits(loss + (A)0);
    return key & sign ? ~key : key | sign;
}

// Maximum m of a row and total = sum of exp(x - m), computed by LANES neighboring threads, which
// all receive both. With NaN in the row, the total is NaN. All threads of a warp must call it.
// `active` is false where there is no row.
template <int LANES, typename T, typename A>
__device__ inline void log_sum_exp(const T* x, int n_class, bool active, A& maximum, A& total) {
    int lane = threadIdx.x % LANES;
    maximum = active ? load(x) : (A)0;
    total = 0;
    if (active)
        for (int c = lane; c < n_class; c += LANES) {
            A value = load(x + c);
            if (value > maximum) maximum = value;
        }
    for (int offset = LANES / 2; offset; offset /= 2) {
        A other = __shfl_xor_sync(FULL_WARP, maximum, offset);
        if (other > maximum) maximum = other;
    }
    if (active)
        for (int c = lane; c < n_class; c += LANES) total += exp(load(x + c) - maximum);
    for (int offset = LANES / 2; offset; offset /= 2)
        total += __shfl_xor_sync(FULL_WARP, total, offset);
}

// loss[row]: cross entropy of the row with its own label. Ignored rows are not read. A warp has 32
// rows, one for each thread. LANES threads read their rows together, one after the other.
template <typename T>
__device__ void box_losses(const T* confs, const int* label, int n_row, int n_class,
                           typename Accumulator<T>::type* loss, uint32* n_finished) {
    typedef typename Accumulator<T>::type A;
    const int LANES = 8;  // with float, they read a whole sector of memory
    if (blockIdx.x == 0 && threadIdx.x == 0) *n_finished = 0;  // choose_rows counts its blocks
    int lane = threadIdx.x % 32, group = lane / LANES * LANES;
    int first = blockIdx.x * blockDim.x + threadIdx.x - lane, step = gridDim.x * blockDim.x;
    for (int base = first; base < n_row; base += step) {  // uniform in the warp
        int own_row = base + lane, own_label = own_row < n_row ? label[own_row] : -1;
        uint32 active = __ballot_sync(FULL_WARP, own_label >= 0);
        A own_maximum = 0, own_total = 1;
        const T* x = confs + (size_t)(base + group) * n_class;
        for (int i = group; i < group + LANES; i++, x += n_class) {
            A maximum, total;
            log_sum_exp<LANES>(x, n_class, active >> i & 1, maximum, total);
            if (i == lane) own_maximum = maximum, own_total = total;
        }
        if (own_label < 0) continue;
        x = confs + (size_t)own_row * n_class;
        loss[own_row] = own_label < n_class ? log(own_total) - (load(x + own_label) - own_maximum)
                                            : log((A)-1);  // the label is not valid: NaN
    }
}

template <typename V>
__device__ inline V warp_sum(V value) {
    for (int offset = 16; offset; offset /= 2) value += __shfl_xor_sync(FULL_WARP, value, offset);
    return value;
}

// Sum over the block, in a fixed order. Every thread receives it.
template <typename V>
__device__ inline V block_sum(V value, V* scratch) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : 0;
    return warp_sum(value);
}

// Sum over all threads of the block with a lower index.
__device__ inline int block_prefix_sum(int value, int* scratch) {
    int lane = threadIdx.x % 32, sum = value;
    for (int offset = 1; offset < 32; offset *= 2) {
        int other = __shfl_up_sync(FULL_WARP, sum, offset);
        if (lane >= offset) sum += other;
    }
    __syncthreads();
    if (lane == 31) scratch[threadIdx.x / 32] = sum;
    __syncthreads();
    int before = lane < threadIdx.x / 32 ? scratch[lane] : 0;
    return warp_sum(before) + sum - value;
}

#define DIGIT_BITS 11
#define BINS (1 << DIGIT_BITS)
// Boxes that a thread loads before it waits for the first one.
#define BATCH 4

// One block per image. selected[row]: whether the row is positive or a hard negative. sums[image]:
// Huber loss of positives, cross entropy of selected rows, number of positives. The last block to
// finish sums over images: losses[2], divided by the number of positives if `divide`, and
// n_positive_of_batch. With `keys_in_shared`, dynamic shared memory holds n_box keys. Otherwise
// each pass computes them again.
template <typename T>
__device__ void choose_rows(const T* locs, const typename Accumulator<T>::type* gt_locs,
                            const int* label, const typename Accumulator<T>::type* loss, int n_box,
                            double k, int keys_in_shared, int divide, uint8* selected, double* sums,
                            uint32* n_finished, typename Accumulator<T>::type* losses,
                            double* n_positive_of_batch) {
    typedef typename Accumulator<T>::type A;
    typedef typename Key<A>::type K;
    extern __shared__ uint64 dynamic[];
    __shared__ int bins[BINS];
    __shared__ int scratch[32];
    __shared__ double scratch_d[32];
    __shared__ K found_prefix;
    __shared__ int found_rank, shared_int;  // n_equal, then tie_end, then whether the block is last
    K* keys = (K*)dynamic;

    uint32 first = blockIdx.x * n_box;  // row of the image's first box
    auto find_key = [&](int i) {
        return keys_in_shared ? keys[i] : make_key(loss[first + i], label[first + i]);
    };

    // Keys, and how many have each first digit.
    for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;
    __syncthreads();
    const int BITS = 8 * sizeof(K);
    int n_positive = 0, n_negative = 0;
    for (int start = threadIdx.x; start < n_box; start += BATCH * blockDim.x) {
        int labels[BATCH];
        A own_losses[BATCH];
        for (int j = 0, i = start; j < BATCH && i < n_box; j++, i += blockDim.x)
            labels[j] = label[first + i], own_losses[j] = loss[first + i];
        for (int j = 0, i = start; j < BATCH && i < n_box; j++, i += blockDim.x) {
            K key = make_key(own_losses[j], labels[j]);
            if (keys_in_shared) keys[i] = key;
            n_positive += labels[j] > 0;
            n_negative += labels[j] == 0;
            atomicAdd(&bins[key >> (BITS - DIGIT_BITS)], 1);
        }
    }
    n_positive = block_sum(n_positive, scratch);
    n_negative = block_sum(n_negative, scratch);
    // The same as hard_negative_limit in functions/parts/mining.py.
    double limit = ceil(k * n_positive);
    int n_hard = limit < n_negative ? (int)limit : n_negative;

    // Radix selection of the n_hard-th largest key, highest digit first. `prefix` holds the digits
    // that are known, and `rank` is the rank of the key among those with this prefix. It is the key
    // of a negative, because these are the largest keys.
    K prefix = 0;
    int rank = n_hard, n_equal = 0;
    for (int low = BITS - DIGIT_BITS; n_hard > 0;) {
        int per_thread = (BINS + blockDim.x - 1) / blockDim.x, own_count = 0;
        int top = BINS - 1 - threadIdx.x * per_thread;
        for (int b = top; b > top - per_thread && b >= 0; b--) own_count += bins[b];
        int above = block_prefix_sum(own_count, scratch);
        if (above < rank && rank <= above + own_count)  // in one of this thread's bins
            for (int b = top;; b--) {
                if (rank <= above + bins[b]) {
                    found_prefix = prefix | (K)b << low;
                    found_rank = rank - above;
                    n_equal = bins[b];
                    shared_int = n_equal;
                    break;
                }
                above += bins[b];
            }
        __syncthreads();
        // The next writes to these three come after a barrier of the next sum or digit.
        prefix = found_prefix, rank = found_rank, n_equal = shared_int;
        if (low == 0) break;

        // The last digit has bits of the one before it, which are equal in all counted keys.
        int high = low;
        low = low > DIGIT_BITS ? low - DIGIT_BITS : 0;
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n_box; i += blockDim.x) {
            K key = find_key(i);
            if ((key ^ prefix) >> high == 0) atomicAdd(&bins[(int)(key >> low) & (BINS - 1)], 1);
        }
        __syncthreads();
    }

    // Now prefix is the smallest selected key. Of the n_equal boxes with it, the first `rank` ones
    // are selected. They lie before the box `tie_end`.
    int tie_end = n_box;
    if (n_hard <= 0) prefix = ~(K)0, tie_end = 0;
    if (rank < n_equal) {  // uniform in the block
        int per_thread = (n_box + blockDim.x - 1) / blockDim.x, own_count = 0;
        int begin = threadIdx.x * per_thread;
        for (int i = begin; i < begin + per_thread && i < n_box; i++)
            own_count += find_key(i) == prefix;
        int before = block_prefix_sum(own_count, scratch);
        if (before < rank && rank <= before + own_count) {  // it is one of this thread's boxes
            int i = begin - 1;
            while (before < rank) before += find_key(++i) == prefix;
            shared_int = i + 1;
        }
        __syncthreads();
        tie_end = shared_int;
    }

    A loc_loss = 0, conf_loss = 0;
    for (int i = threadIdx.x; i < n_box; i += blockDim.x) {
        K key = find_key(i);
        bool hard = key > prefix || (key == prefix && i < tie_end), positive = key == POSITIVE;
        selected[first + i] = positive || hard;
        if (positive || hard) conf_loss += loss[first + i];
        if (positive)
            for (int c = 0; c < 4; c++) {
                size_t j = 4 * (size_t)(first + i) + c;
                A d = load(locs + j) - gt_locs[j];
                A size = d < 0 ? -d : d;
                loc_loss += size < 1 ? d * d / 2 : size - (A)0.5;
            }
    }
    double loc = block_sum((double)loc_loss, scratch_d);
    double conf = block_sum((double)conf_loss, scratch_d);

    if (threadIdx.x == 0) {
        double* own_sums = sums + 3 * (size_t)blockIdx.x;
        own_sums[0] = loc, own_sums[1] = conf, own_sums[2] = n_positive;
        __threadfence();  // a block that finds this increment finds the sums
        shared_int = atomicAdd(n_finished, 1u) == gridDim.x - 1;
        __threadfence();  // and the barrier hands them on to the other threads
    }
    __syncthreads();
    if (!shared_int) return;
    double total[3] = {0, 0, 0};
    for (int image = threadIdx.x; image < gridDim.x; image += blockDim.x)
        for (int j = 0; j < 3; j++) total[j] += sums[3 * (size_t)image + j];
    for (int j = 0; j < 3; j++) total[j] = block_sum(total[j], scratch_d);
    if (threadIdx.x == 0) {
        double n = divide && total[2] > 0 ? total[2] : 1;
        losses[0] = (A)(total[0] / n), losses[1] = (A)(total[1] / n);
        *n_positive_of_batch = total[2];
    }
}

// 16 bytes, which a thread writes at once.
struct alignas(16) Zeros { uint64 low, high; };

// Writes n zeros with the threads of a block. p must be a multiple of 16 bytes.
template <typename T>
__device__ inline void fill_zeros(T* p, int n) {
    const int PER_STORE = sizeof(Zeros) / sizeof(T);
    int n_store = n / PER_STORE;
    for (int i = threadIdx.x; i < n_store; i += blockDim.x) ((Zeros*)p)[i] = Zeros();
    for (int i = n_store * PER_STORE + threadIdx.x; i < n; i += blockDim.x) store(p + i, 0);
}

// Both gradients. A gradient that is not required is null, and so is the gradient of its loss. A
// block has a row for each thread. It fills the rows with zeros, and then its warps compute the
// selected ones. grad_locs and grad_confs must be multiples of 16 bytes.
template <typename T>
__device__ void gradients(const T* locs, const T* confs,
                          const typename Accumulator<T>::type* gt_locs, const int* label,
                          const uint8* selected, int n_row, int n_class,
                          const typename Accumulator<T>::type* grad_loc_loss,
                          const typename Accumulator<T>::type* grad_conf_loss,
                          const double* normalizer, T* grad_locs, T* grad_confs) {
    typedef typename Accumulator<T>::type A;
    A n = *normalizer > 0 ? (A)*normalizer : (A)1;
    A loc_scale = grad_locs ? *grad_loc_loss / n : (A)0;
    A conf_scale = grad_confs ? *grad_conf_loss / n : (A)0;
    // Selected rows are often neighbors, so neighbors belong to different warps.
    int lane = threadIdx.x % 32, n_warp = blockDim.x / 32, warp = threadIdx.x / 32;
    int step = gridDim.x * blockDim.x;
    for (int base = blockIdx.x * blockDim.x; base < n_row; base += step) {  // uniform in the block
        int own_row = base + lane * n_warp + warp;
        int n_own = n_row - base < blockDim.x ? n_row - base : blockDim.x;
        bool is_selected = own_row < n_row && selected[own_row];
        if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);
        if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);
        __syncthreads();  // other threads write the zeros of a row
        if (grad_locs && is_selected && label[own_row] > 0)
            for (int c = 0; c < 4; c++) {  // gradient of the Huber loss: clip(d, -1, 1)
                size_t i = 4 * (size_t)own_row + c;
                A d = load(locs + i) - gt_locs[i];
                store(grad_locs + i, (d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale);
            }
        if (!grad_confs) continue;
        uint32 rows = __ballot_sync(FULL_WARP, is_selected);
        for (; rows; rows &= rows - 1) {  // the warp computes each selected row
            int row = base + (__ffs(rows) - 1) * n_warp + warp;
            const T* x = confs + (size_t)row * n_class;
            T* gradient = grad_confs + (size_t)row * n_class;
            A maximum, total;
            log_sum_exp<32>(x, n_class, true, maximum, total);
            for (int c = lane; c < n_class; c += 32) {
                A value = exp(load(x + c) - maximum) / total;
                store(gradient + c, (c == label[row] ? value - 1 : value) * conf_scale);
            }
        }
    }
}

// The kernels of one type of predictions. The source is compiled with this line at its end. They
// have C names, because CuPy 13.6 and 14.0 compile templates again in every process.
#define KERNELS(T, suffix)                                                                        \
    extern "C" __global__ void box_losses_##suffix(                                               \
        const T* confs, const int* label, int n_row, int n_class,                                 \
        Accumulator<T>::type* loss, uint32* n_finished) {                                         \
        box_losses<T>(confs, label, n_row, n_class, loss, n_finished);                            \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(1024) choose_rows_##suffix(                      \
        const T* locs, const Accumulator<T>::type* gt_locs, const int* label,                     \
        const Accumulator<T>::type* loss, int n_box, double k, int keys_in_shared, int divide,    \
        uint8* selected, double* sums, uint32* n_finished, Accumulator<T>::type* losses,          \
        double* n_positive_of_batch) {                                                            \
        choose_rows<T>(locs, gt_locs, label, loss, n_box, k, keys_in_shared, divide, selected,    \
                       sums, n_finished, losses, n_positive_of_batch);                            \
    }                                                                                             \
    extern "C" __global__ void gradients_##suffix(                                                \
        const T* locs, const T* confs, const Accumulator<T>::type* gt_locs, const int* label,     \
        const uint8* selected, int n_row, int n_class,                                            \
        const Accumulator<T>::type* grad_loc_loss, const Accumulator<T>::type* grad_conf_loss,    \
        const double* normalizer, T* grad_locs, T* grad_confs) {                                  \
        gradients<T>(locs, confs, gt_locs, label, selected, n_row, n_class, grad_loc_loss,        \
                     grad_conf_loss, normalizer, grad_locs, grad_confs);                          \
    }
