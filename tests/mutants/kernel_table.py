"""The mutants of the CUDA kernels and of their launchers.

:data:`EQUIVALENT` lists changes that no test can notice, with the reason. :data:`MEMORY_ORDER`
lists changes that only ThreadSanitizer can notice (``make test-cuda``), because the emulator makes
each access to memory visible at once.
"""

from __future__ import annotations

SOURCE = 'functions/_fused/multibox_loss.cu'
LAUNCHERS = 'functions/_fused/kernels.py'
TESTS = ('functions/fused/test_emulated_kernels.py',)

#: (old, new) texts of the CUDA source.
SOURCE_CHANGES = [
    # Loading, storing, keys
    ('Accumulator<double> { typedef double type; }', 'Accumulator<double> { typedef float type; }'),
    ('Key<double> { typedef uint64 type; }', 'Key<double> { typedef uint32 type; }'),
    ('return __float_as_uint(x);', 'return (uint32)x;'),
    ('return (uint64)__double_as_longlong(x);', 'return (uint64)(uint32)__double_as_longlong(x);'),
    ('(K)1 << (8 * sizeof(K) - 1)', '(K)1 << (8 * sizeof(K) - 2)'),
    ('(K)1 << (8 * sizeof(K) - 1)', '(K)1 << 31'),
    ('if (label != 0) return 0;', 'if (label > 0) return 0;'),
    ('if (label != 0) return 0;', 'if (label < 0) return 0;'),
    ('if (label != 0) return 0;', ''),
    ('if (label != 0) return 0;', 'if (label == 0) return 0;'),
    ('if (loss != loss) return ~(K)0;', ''),
    ('if (loss != loss) return ~(K)0;', 'if (loss != loss) return 0;'),
    ('if (loss != loss) return ~(K)0;', 'if (loss != loss) return 1;'),
    ('bits(loss + (A)0)', 'bits(loss)'),
    ('key & sign ? ~key : key | sign', 'key | sign'),
    ('key & sign ? ~key : key | sign', 'key & sign ? key : key | sign'),
    ('key & sign ? ~key : key | sign', 'key & sign ? ~key : key'),
    ('key & sign ? ~key : key | sign', 'key'),
    # log_sum_exp
    ('maximum = active ? load(x) : (A)0;', 'maximum = (A)0;'),
    ('maximum = active ? load(x) : (A)0;', 'maximum = load(x);'),
    (
        'c < n_class; c += lanes) {\n            A value = load(x + c);',
        'c <= n_class; c += lanes) {\n            A value = load(x + c);',
    ),
    (
        'c < n_class; c += lanes) {\n            A value = load(x + c);',
        'c < n_class - 1; c += lanes) {\n            A value = load(x + c);',
    ),
    (
        'c < n_class; c += lanes) {\n            A value = load(x + c);',
        'c < n_class; c += 2 * lanes) {\n            A value = load(x + c);',
    ),
    ('if (value > maximum) maximum = value;', 'if (value < maximum) maximum = value;'),
    ('if (other > maximum) maximum = other;', 'if (other < maximum) maximum = other;'),
    (
        '    for (int lane_offset = lanes / 2; lane_offset; lane_offset /= 2) {',
        '    for (int lane_offset = lanes / 4; lane_offset; lane_offset /= 2) {',
    ),
    (
        '    for (int lane_offset = lanes / 2; lane_offset; lane_offset /= 2) {',
        '    for (int lane_offset = lanes; lane_offset; lane_offset /= 2) {',
    ),
    (
        '    for (int lane_offset = lanes / 2; lane_offset; lane_offset /= 2) {',
        '    for (int lane_offset = lanes / 2; lane_offset > 1; lane_offset /= 2) {',
    ),
    ('c += lanes) total += exp', 'c += lanes) total = exp'),
    ('exp(load(x + c) - maximum);\n', 'exp(load(x + c));\n'),
    (
        'for (int c = lane; c < n_class; c += lanes) total +=',
        'for (int c = lane; c <= n_class; c += lanes) total +=',
    ),
    (
        'for (int c = lane; c < n_class; c += lanes) total +=',
        'for (int c = lane + 1; c < n_class; c += lanes) total +=',
    ),
    (
        'for (int lane_offset = lanes / 2; lane_offset; lane_offset /= 2)\n        total',
        'for (int lane_offset = lanes / 2; lane_offset > 1; lane_offset /= 2)\n        total',
    ),
    (
        'for (int lane_offset = lanes / 2; lane_offset; lane_offset /= 2)\n        total',
        'for (int lane_offset = lanes; lane_offset; lane_offset /= 2)\n        total',
    ),
    # box_losses
    ('if (blockIdx.x == 0 && threadIdx.x == 0) *n_finished = 0;', ''),
    ('*n_finished = 0;', '*n_finished = 1;'),
    ('bool active = row < n_row && label[row] >= 0;', 'bool active = row < n_row;'),
    (
        'bool active = row < n_row && label[row] >= 0;',
        'bool active = row < n_row && label[row] > 0;',
    ),
    (
        'bool active = row < n_row && label[row] >= 0;',
        'bool active = row <= n_row && label[row] >= 0;',
    ),
    ('bool active = row < n_row && label[row] >= 0;', 'bool active = label[row] >= 0;'),
    ('confs + (size_t)row * n_class', 'confs + row * n_class'),
    ('if (active && lane == 0)\n', 'if (lane == 0)\n'),
    ('label[row] < n_class ? log', 'label[row] <= n_class ? log'),
    ('label[row] < n_class ? log', 'label[row] < (1 << 29) ? log'),
    (
        'log(total) - (load(x + label[row]) - maximum)',
        'log(total) - load(x + label[row]) + maximum',
    ),
    (
        'log(total) - (load(x + label[row]) - maximum)',
        'log(total) - (load(x + label[row]) + maximum)',
    ),
    ('log(total) - (load(x + label[row]) - maximum)', 'log(total) - (load(x) - maximum)'),
    (': log((A)-1);', ': (A)0;'),
    # Sums and prefix sums of a block
    ('offset = 16; offset; offset /= 2', 'offset = 8; offset; offset /= 2'),
    ('offset = 16; offset; offset /= 2', 'offset = 16; offset > 1; offset /= 2'),
    ('    value = warp_sum(value);\n    __syncthreads();\n', '    value = warp_sum(value);\n'),
    ('    value = warp_sum(value);\n    __syncthreads();\n', '    __syncthreads();\n'),
    (
        'scratch[threadIdx.x / 32] = value;\n    __syncthreads();\n',
        'scratch[threadIdx.x / 32] = value;\n',
    ),
    ('if (threadIdx.x % 32 == 0) scratch', 'if (threadIdx.x == 0) scratch'),
    (
        'threadIdx.x % 32 < blockDim.x / 32 ? scratch',
        'threadIdx.x % 32 <= blockDim.x / 32 ? scratch',
    ),
    (
        'threadIdx.x % 32 < blockDim.x / 32 ? scratch',
        'threadIdx.x % 32 < blockDim.x / 32 - 1 ? scratch',
    ),
    (
        'threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : 0',
        'scratch[threadIdx.x % 32]',
    ),
    (
        'for (int offset = 1; offset < 32; offset *= 2)',
        'for (int offset = 1; offset < 16; offset *= 2)',
    ),
    ('if (lane >= offset) sum += other;', 'sum += other;'),
    ('if (lane >= offset) sum += other;', 'if (lane > offset) sum += other;'),
    ('    }\n    __syncthreads();\n    if (lane == 31)', '    }\n    if (lane == 31)'),
    ('if (lane == 31) scratch', 'if (lane == 0) scratch'),
    (
        'scratch[threadIdx.x / 32] = sum;\n    __syncthreads();\n',
        'scratch[threadIdx.x / 32] = sum;\n',
    ),
    ('lane < threadIdx.x / 32 ? scratch[lane]', 'lane <= threadIdx.x / 32 ? scratch[lane]'),
    (
        'lane < threadIdx.x / 32 ? scratch[lane] : 0',
        'lane < threadIdx.x / 32 - 1 ? scratch[lane] : 0',
    ),
    ('warp_sum(before) + sum - value', 'warp_sum(before) + sum'),
    # choose_rows: counts
    ('#define DIGIT_BITS 11', '#define DIGIT_BITS 12'),
    ('#define DIGIT_BITS 11', '#define DIGIT_BITS 13'),
    ('#define BINS (1 << DIGIT_BITS)', '#define BINS (1 << (DIGIT_BITS - 1))'),
    ('size_t offset = (size_t)blockIdx.x * n_box;', 'int offset = blockIdx.x * n_box;'),
    ('locs += 4 * offset, gt_locs += 4 * offset', 'locs += 4 * offset, gt_locs += offset'),
    ('loss += offset, selected += offset;', 'loss += offset;'),
    ('n_positive += label[i] > 0;', 'n_positive += label[i] >= 0;'),
    ('n_positive += label[i] > 0;', 'n_positive += label[i] != 0;'),
    ('n_negative += label[i] == 0;', 'n_negative += label[i] <= 0;'),
    ('n_negative += label[i] == 0;', 'n_negative += 1;'),
    (
        'for (int i = threadIdx.x; i < n_box; i += blockDim.x) {\n        n_positive',
        'for (int i = threadIdx.x; i <= n_box; i += blockDim.x) {\n        n_positive',
    ),
    (
        'for (int i = threadIdx.x; i < n_box; i += blockDim.x) {\n        n_positive',
        'if (int i = threadIdx.x; i < n_box) {\n        n_positive',
    ),
    (
        'if (keys_in_shared) keys[i] = make_key(loss[i], label[i]);',
        'keys[i] = make_key(loss[i], label[i]);',
    ),
    (
        'if (keys_in_shared) keys[i] = make_key(loss[i], label[i]);',
        'if (keys_in_shared) keys[i + 1] = make_key(loss[i], label[i]);',
    ),
    ('    n_positive = block_sum(n_positive, scratch);\n', ''),
    ('    n_negative = block_sum(n_negative, scratch);\n', ''),
    ('ceil(k * n_positive)', 'floor(k * n_positive)'),
    ('ceil(k * n_positive)', 'ceil((float)k * n_positive)'),
    ('limit < n_negative ? (int)limit : n_negative', '(int)limit'),
    (
        'limit < n_negative ? (int)limit : n_negative',
        '(int)limit < n_negative ? (int)limit : n_negative',
    ),
    ('limit < n_negative ? (int)limit : n_negative', 'n_negative'),
    # choose_rows: selection
    ('rank = n_hard, n_equal = 0;', 'rank = n_hard + 1, n_equal = 0;'),
    ('n_hard > 0 && low > 0;) {', 'n_hard > 0 && low > DIGIT_BITS;) {'),
    ('low = low > DIGIT_BITS ? low - DIGIT_BITS : 0;', 'low = low - DIGIT_BITS;'),
    ('i < BINS; i += blockDim.x) bins[i] = 0;\n', 'i < BINS - 1; i += blockDim.x) bins[i] = 0;\n'),
    ('i < BINS; i += blockDim.x) bins[i] = 0;\n', 'i <= BINS; i += blockDim.x) bins[i] = 0;\n'),
    ('for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n', ''),
    ('bins[i] = 0;\n        __syncthreads();\n', 'bins[i] = 0;\n'),
    ('int end = (n_box + 31) / 32 * 32;', 'int end = n_box;'),
    ('int end = (n_box + 31) / 32 * 32;', 'int end = n_box / 32 * 32;'),
    (
        '            K key = i < n_box ? keys_in_shared',
        '            K key = i <= n_box ? keys_in_shared',
    ),
    ('            K key = i < n_box ? keys_in_shared', '            K key = true ? keys_in_shared'),
    ('(high == 8 * sizeof(K) || (key ^ prefix) >> high == 0)', 'true'),
    ('(high == 8 * sizeof(K) || (key ^ prefix) >> high == 0)', '(key ^ prefix) >> high == 0'),
    ('(key ^ prefix) >> high == 0', '(key ^ prefix) >> low == 0'),
    ('if (counts && (same & ((1u << threadIdx.x % 32) - 1)) == 0)', 'if (counts)'),
    (
        'if (counts && (same & ((1u << threadIdx.x % 32) - 1)) == 0)',
        'if ((same & ((1u << threadIdx.x % 32) - 1)) == 0)',
    ),
    ('atomicAdd(&bins[bin], __popc(same));', 'atomicAdd(&bins[bin], 1);'),
    ('atomicAdd(&bins[bin], __popc(same));', 'bins[bin] = __popc(same);'),
    ('__popc(same));\n        }\n        __syncthreads();\n', '__popc(same));\n        }\n'),
    ('(BINS + blockDim.x - 1) / blockDim.x, own_count', 'BINS / blockDim.x, own_count'),
    (
        'int top = BINS - 1 - threadIdx.x * per_thread;',
        'int top = BINS - 2 - threadIdx.x * per_thread;',
    ),
    ('b > top - per_thread && b >= 0; b--) own_count', 'b > top - per_thread; b--) own_count'),
    (
        'b > top - per_thread && b >= 0; b--) own_count',
        'b >= top - per_thread && b >= 0; b--) own_count',
    ),
    (
        'if (above < rank && rank <= above + own_count)',
        'if (above <= rank && rank <= above + own_count)',
    ),
    (
        'if (above < rank && rank <= above + own_count)',
        'if (above < rank && rank < above + own_count)',
    ),
    ('if (rank <= above + bins[b]) {', 'if (rank < above + bins[b]) {'),
    ('found_prefix = prefix | (K)b << low;', 'found_prefix = (K)b << low;'),
    ('found_prefix = prefix | (K)b << low;', 'found_prefix = prefix | b << low;'),
    ('found_rank = rank - above;', 'found_rank = rank;'),
    ('n_equal = bins[b];\n', 'n_equal = 1;\n'),
    ('above += bins[b];\n', ''),
    ('        __syncthreads();\n        // The next writes', '        // The next writes'),
    ('rank = found_rank, n_equal = shared_int;', 'n_equal = shared_int;'),
    ('rank = found_rank, n_equal = shared_int;', 'rank = found_rank;'),
    # choose_rows: ties and sums
    ('A loc_loss = 0, conf_loss = 0;', 'A loc_loss = 0, conf_loss = 1;'),
    ('(n_box + blockDim.x - 1) / blockDim.x * blockDim.x', 'n_box'),
    ('(n_box + blockDim.x - 1) / blockDim.x * blockDim.x', 'n_box / blockDim.x * blockDim.x'),
    (
        '        K key = i < n_box ? keys_in_shared ? keys[i] : make_key(loss[i], label[i]) : 0;\n        bool equal',  # noqa: E501
        '        K key = keys_in_shared ? keys[i] : make_key(loss[i], label[i]);\n        bool equal',  # noqa: E501
    ),
    ('n_hard > 0 && key == prefix && key != 0;', 'n_hard > 0 && key >= prefix;'),
    ('bool hard = n_hard > 0 && (key > prefix || equal);', 'bool hard = key > prefix || equal;'),
    ('(key > prefix || equal)', 'key > prefix'),
    ('(key > prefix || equal)', 'equal'),
    ('if (rank < n_equal) {  // uniform', 'if (false) {  // uniform'),
    ('if (rank < n_equal) {  // uniform', 'if (rank + 1 < n_equal) {  // uniform'),
    ('int before = n_equal_before + block', 'int before = block'),
    (
        'n_equal_before += block_sum((int)equal, scratch);',
        'n_equal_before = block_sum((int)equal, scratch);',
    ),
    ('n_equal_before += block_sum((int)equal, scratch);', ''),
    ('n_equal_before += block_sum((int)equal, scratch);', 'n_equal_before += equal;'),
    ('if (equal && before >= rank) hard = false;', 'if (before >= rank) hard = false;'),
    ('if (equal && before >= rank) hard = false;', 'if (equal && before > rank) hard = false;'),
    ('        if (i < n_box) {\n', '        if (i <= n_box) {\n'),
    ('        if (i < n_box) {\n', '        {\n'),
    ('bool positive = label[i] > 0;', 'bool positive = label[i] != 0;'),
    ('selected[i] = positive || hard;', 'selected[i] = hard;'),
    ('selected[i] = positive || hard;', 'if (positive || hard) selected[i] = 1;'),
    ('if (positive || hard) conf_loss += loss[i];', 'if (hard) conf_loss += loss[i];'),
    ('if (positive || hard) conf_loss += loss[i];', 'conf_loss += loss[i];'),
    ('            if (positive)\n', '            if (positive || hard)\n'),
    ('            if (positive)\n', ''),
    ('for (int c = 0; c < 4; c++) {', 'for (int c = 0; c < 3; c++) {'),
    ('for (int c = 0; c < 4; c++) {', 'for (int c = 0; c < 5; c++) {'),
    (
        'load(locs + 4 * (size_t)i + c) - gt_locs[4 * (size_t)i + c]',
        'load(locs + 4 * (size_t)i + c) + gt_locs[4 * (size_t)i + c]',
    ),
    ('d < 0 ? -d : d', 'd'),
    ('size < 1 ? d * d / 2', 'size < 2 ? d * d / 2'),
    ('size < 1 ? d * d / 2 :', 'size < 1 ? d * d :'),
    ('size - (A)0.5', 'size'),
    ('double loc = block_sum((double)loc_loss, scratch_d);', 'double loc = loc_loss;'),
    ('double conf = block_sum((double)conf_loss, scratch_d);', 'double conf = loc;'),
    # choose_rows: the last block
    (
        '    if (threadIdx.x == 0) {\n        double* own_sums',
        '    if (threadIdx.x == 32) {\n        double* own_sums',
    ),
    ('sums + 3 * (size_t)blockIdx.x', 'sums + 3 * (size_t)(blockIdx.x + 1)'),
    ('own_sums[1] = conf, own_sums[2]', 'own_sums[1] = loc, own_sums[2]'),
    ('own_sums[2] = n_positive;', 'own_sums[2] = n_hard;'),
    ('atomicAdd(n_finished, 1u) == gridDim.x - 1', 'atomicAdd(n_finished, 1u) == gridDim.x'),
    ('atomicAdd(n_finished, 1u) == gridDim.x - 1', 'atomicAdd(n_finished, 1u) == 0'),
    ('atomicAdd(n_finished, 1u) == gridDim.x - 1', 'blockIdx.x == gridDim.x - 1'),
    ('    __syncthreads();\n    if (!shared_int) return;\n', '    if (!shared_int) return;\n'),
    ('    if (!shared_int) return;\n', ''),
    ('image < gridDim.x; image += blockDim.x)', 'image < gridDim.x - 1; image += blockDim.x)'),
    ('image < gridDim.x; image += blockDim.x)', 'image < 32; image += blockDim.x)'),
    ('image < gridDim.x; image += blockDim.x)', 'image < gridDim.x; image += 2 * blockDim.x)'),
    ('total[j] += sums', 'total[j] = sums'),
    ('for (int j = 0; j < 3; j++) total[j] = block_sum(total[j], scratch_d);', ''),
    ('divide && total[2] > 0 ? total[2] : 1', 'divide ? total[2] : 1'),
    ('divide && total[2] > 0 ? total[2] : 1', 'total[2] > 0 ? total[2] : 1'),
    ('(A)(total[0] / n), losses[1]', '(A)(total[0]), losses[1]'),
    ('losses[1] = (A)(total[1] / n)', 'losses[1] = (A)(total[0] / n)'),
    ('*n_positive_of_batch = total[2];', '*n_positive_of_batch = n;'),
    # gradients
    ('*normalizer > 0 ? (A)*normalizer : (A)1', '(A)*normalizer'),
    ('*normalizer > 0 ? (A)*normalizer : (A)1', '(A)1'),
    ('grad_locs ? *grad_loc_loss / n', 'grad_locs ? *grad_loc_loss'),
    ('grad_locs ? *grad_loc_loss / n : (A)0', '*grad_loc_loss / n'),
    ('grad_confs ? *grad_conf_loss / n', 'grad_confs ? *grad_conf_loss'),
    ('grad_confs ? *grad_conf_loss / n : (A)0', '*grad_conf_loss / n'),
    ('bool has_row = row < n_row, active', 'bool has_row = row <= n_row, active'),
    ('active = has_row && selected[row];', 'active = has_row;'),
    ('active = has_row && selected[row];', 'active = selected[row];'),
    ('        size_t offset = (size_t)row * n_class;', '        int offset = row * n_class;'),
    ('if (grad_locs && has_row && lane < 4) {', 'if (has_row && lane < 4) {'),
    ('if (grad_locs && has_row && lane < 4) {', 'if (grad_locs && lane < 4) {'),
    ('if (grad_locs && has_row && lane < 4) {', 'if (grad_locs && has_row && lane < 3) {'),
    ('if (grad_locs && has_row && lane < 4) {', 'if (grad_locs && has_row && lane < 5) {'),
    ('size_t i = 4 * (size_t)row + lane;', 'int i = 4 * row + lane;'),
    ('if (label[row] > 0) {  // gradient', 'if (active) {  // gradient'),
    ('if (label[row] > 0) {  // gradient', 'if (label[row] != 0) {  // gradient'),
    ('A d = load(locs + i) - gt_locs[i];', 'A d = load(locs + i) + gt_locs[i];'),
    ('(d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale', 'd * loc_scale'),
    ('(d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale', '(d > 1 ? (A)1 : d) * loc_scale'),
    ('d < -1 ? (A)-1 : d) * loc_scale', 'd < -1 ? (A)-1 : d) * conf_scale'),
    (
        '            store(grad_locs + i, value);\n',
        '            if (value != 0) store(grad_locs + i, value);\n',
    ),
    ('if (!grad_confs) continue;', ''),
    ('if (__any_sync(FULL_WARP, active))\n', 'if (active)\n'),
    ('        if (has_row)\n            for', '        if (active)\n            for'),
    ('        if (has_row)\n            for', '            for'),
    (
        'c < n_class; c += lanes) {\n                A value = 0;',
        'c <= n_class; c += lanes) {\n                A value = 0;',
    ),
    (
        'c < n_class; c += lanes) {\n                A value = 0;',
        'c < lanes && c < n_class; c += lanes) {\n                A value = 0;',
    ),
    ('                if (active) {\n', '                {\n'),
    ('exp(load(confs + offset + c) - maximum) / total', 'exp(load(confs + offset + c) - maximum)'),
    ('c == label[row] ? value - 1 : value', 'value'),
    ('c == label[row] ? value - 1 : value', 'c == label[row] ? value + 1 : value'),
    ('value - 1 : value) * conf_scale', 'value - 1 : value) * loc_scale'),
    # Entries
    (
        'choose_rows<T>(locs, gt_locs, label, loss, n_box, k, keys_in_shared, divide,',
        'choose_rows<T>(locs, gt_locs, label, loss, n_box, k, divide, keys_in_shared,',
    ),
    (
        'n_row, n_class, lanes, grad_loc_loss, \\\n                     grad_conf_loss,',
        'n_row, n_class, lanes, grad_conf_loss, \\\n                     grad_loc_loss,',
    ),
]

#: (old, new) texts of the launchers.
LAUNCHER_CHANGES = [
    (
        'loss = cupy.empty((n_image, n_box), gt_mb_locs.dtype)',
        'loss = cupy.empty((n_image, n_box), mb_confs.dtype)',
    ),
    (
        "selected = cupy.empty((n_image, n_box), 'u1')",
        "selected = cupy.empty((n_image, n_box - 1), 'u1')",
    ),
    ('cupy.empty((n_image, 3)), cupy.empty(())', 'cupy.empty((n_image, 2)), cupy.empty(())'),
    (
        'losses, n_finished = cupy.empty(2, gt_mb_locs.dtype)',
        'losses, n_finished = cupy.empty(2, mb_confs.dtype)',
    ),
    ("cupy.empty((), 'u4')", "cupy.empty((), 'u1')"),
    ('np.int32(loss.size),', 'np.int32(n_box),'),
    (
        '            np.int32(loss.size),\n            np.int32(n_class),\n',
        '            np.int32(n_class),\n            np.int32(loss.size),\n',
    ),
    ('key_bytes = (loss.dtype.itemsize * n_box + 7) // 8 * 8', 'key_bytes = 4 * n_box'),
    (
        'key_bytes = (loss.dtype.itemsize * n_box + 7) // 8 * 8',
        'key_bytes = loss.dtype.itemsize * n_box // 8 * 8',
    ),
    ('keys_in_shared = key_bytes <= _max_key_bytes()', 'keys_in_shared = True'),
    ('min(1024, (n_box + 31) // 32 * 32)', '(n_box + 31) // 32 * 32'),
    ('min(1024, (n_box + 31) // 32 * 32)', 'min(1024, n_box)'),
    ('        n_image,\n        block,', '        1,\n        block,'),
    ('np.float64(k),', 'np.float64(np.floor(k)),'),
    ('np.int32(keys_in_shared),', 'np.int32(True),'),
    ('np.int32(divide),', 'np.int32(True),'),
    ('shared_mem=key_bytes if keys_in_shared else 0', 'shared_mem=0'),
    ('shared_mem=key_bytes if keys_in_shared else 0', 'shared_mem=key_bytes'),
    ('return losses, n_positive, selected', 'return losses[::-1], n_positive, selected'),
    (
        'grad_locs = None if grad_loc_loss is None else',
        'grad_locs = None if grad_conf_loss is None else',
    ),
    ('cupy.empty_like(mb_confs)', 'cupy.empty_like(mb_locs)'),
    ('np.int32(n_image * n_box),', 'np.int32(n_box),'),
    (
        'for array in (grad_loc_loss, grad_conf_loss)',
        'for array in (grad_conf_loss, grad_loc_loss)',
    ),
    ('lanes = 8 if n_class <= 32 else', 'lanes = 8 if n_class < 32 else'),
    ('16 if n_class <= 64 else 32', '16 if n_class <= 65 else 32'),
    ('-(-n_row * lanes // THREADS_PER_BLOCK)', 'n_row * lanes // THREADS_PER_BLOCK'),
    ('// THREADS_PER_BLOCK), MAX_BLOCKS)', '// THREADS_PER_BLOCK), 1 << 31)'),
    ('return shared_bytes - STATIC_SHARED_BYTES', 'return shared_bytes'),
    ('STATIC_SHARED_BYTES = 12 << 10', 'STATIC_SHARED_BYTES = 8 << 10'),
]

#: (old, new, reason) of changes that no test can notice.
EQUIVALENT = [
    (
        'maximum = active ? load(x) : (A)0;',
        'maximum = active ? load(x) : (A)1e30;',
        'threads without a row exchange values among themselves only, and nobody reads them',
    ),
    (
        'if (active && lane == 0)\n',
        'if (active && lane == 1)\n',
        'all threads of a row have the same maximum and total, bit for bit',
    ),
    (
        'if (threadIdx.x % 32 == 0) scratch',
        'if (threadIdx.x % 32 == 1) scratch',
        'all threads of a warp have the same sum, bit for bit',
    ),
    (
        'bool counts = key != 0 && (high',
        'bool counts = (high',
        'key 0 is the lowest, and the selection ends among the negatives, which are above it',
    ),
    (
        'uint32 same = __match_any_sync(FULL_WARP, bin);',
        'uint32 same = 1u << threadIdx.x % 32;',
        'each thread then adds 1 by itself: the same counts, more atomic additions',
    ),
    (
        'A maximum = 0, total = 1;',
        'A maximum, total;',
        'rows that are selected set both, and other rows do not read them',
    ),
    (
        'size_t offset = (size_t)blockIdx.x * n_box;',
        'size_t offset = blockIdx.x * n_box;',
        'the product is unsigned and below MAX_BOXES = 2**30',
    ),
    (
        'sums + 3 * (size_t)blockIdx.x',
        'sums + 3 * blockIdx.x',
        'the product is unsigned, and there are fewer than 2**30 images',
    ),
    (
        'sums[3 * (size_t)image + j]',
        'sums[3 * image + j]',
        'it differs from 2**31 / 3 images on, whose sums alone need 17 GB',
    ),
    (
        'load(locs + 4 * (size_t)i + c) - gt_locs[4 * (size_t)i + c]',
        'load(locs + 4 * i + c) - gt_locs[4 * i + c]',
        'it differs from 2**29 boxes in one image on, which no test can wait for',
    ),
    (
        '(key >> low) & (BINS - 1)',
        '(key >> low) & (((K)1 << (high - low)) - 1)',
        'the last digit without bits of the one before it has the same order',
    ),
]

#: (old, new, reason) of changes that only ThreadSanitizer can notice.
MEMORY_ORDER = [
    (
        '        __threadfence();  // a block that finds this increment finds the sums\n',
        '',
        'the increment could become visible before the sums',
    ),
    (
        '        __threadfence();  // and the barrier hands them on to the other threads\n',
        '',
        'the sums could be read before the increments of the other blocks',
    ),
]
