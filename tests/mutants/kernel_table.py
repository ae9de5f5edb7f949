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
    ('if (loss != loss) return ~(K)0;', ''),
    ('if (loss != loss) return ~(K)0;', 'if (loss != loss) return 0;'),
    ('if (loss != loss) return ~(K)0;', 'if (loss != loss) return 1;'),
    ('bits(loss + (A)0)', 'bits(loss)'),
    ('key & sign ? ~key : key | sign', 'key | sign'),
    ('key & sign ? ~key : key | sign', 'key & sign ? key : key | sign'),
    ('key & sign ? ~key : key | sign', 'key & sign ? ~key : key'),
    ('key & sign ? ~key : key | sign', 'key'),
    ('if (label != 0) return label > 0 ? POSITIVE : 0;', 'if (label != 0) return 0;'),
    ('if (label != 0) return label > 0 ? POSITIVE : 0;', 'if (label != 0) return POSITIVE;'),
    ('if (label != 0) return label > 0 ? POSITIVE : 0;', 'if (label > 0) return POSITIVE;'),
    ('if (label != 0) return label > 0 ? POSITIVE : 0;', 'if (label < 0) return 0;'),
    ('if (label != 0) return label > 0 ? POSITIVE : 0;', ''),
    ('#define POSITIVE 1', '#define POSITIVE 0'),
    # log_sum_exp
    ('maximum = active ? load(x) : (A)0;', 'maximum = (A)0;'),
    ('maximum = active ? load(x) : (A)0;', 'maximum = load(x);'),
    ('if (value > maximum) maximum = value;', 'if (value < maximum) maximum = value;'),
    ('if (other > maximum) maximum = other;', 'if (other < maximum) maximum = other;'),
    ('exp(load(x + c) - maximum);\n', 'exp(load(x + c));\n'),
    ('int lane = threadIdx.x % LANES;', 'int lane = threadIdx.x % 32;'),
    (
        'c < n_class; c += LANES) {\n            A value',
        'c <= n_class; c += LANES) {\n            A value',
    ),
    (
        'c < n_class; c += LANES) {\n            A value',
        'c < n_class - 1; c += LANES) {\n            A value',
    ),
    (
        'c < n_class; c += LANES) {\n            A value',
        'c < n_class; c += 2 * LANES) {\n            A value',
    ),
    (
        '    for (int offset = LANES / 2; offset; offset /= 2) {',
        '    for (int offset = LANES / 4; offset; offset /= 2) {',
    ),
    (
        '    for (int offset = LANES / 2; offset; offset /= 2) {',
        '    for (int offset = LANES; offset; offset /= 2) {',
    ),
    (
        '    for (int offset = LANES / 2; offset; offset /= 2) {',
        '    for (int offset = LANES / 2; offset > 1; offset /= 2) {',
    ),
    ('c += LANES) total += exp', 'c += LANES) total = exp'),
    (
        'for (int c = lane; c < n_class; c += LANES) total +=',
        'for (int c = lane; c <= n_class; c += LANES) total +=',
    ),
    (
        'for (int c = lane; c < n_class; c += LANES) total +=',
        'for (int c = lane + 1; c < n_class; c += LANES) total +=',
    ),
    (
        'for (int offset = LANES / 2; offset; offset /= 2)\n        total',
        'for (int offset = LANES / 2; offset > 1; offset /= 2)\n        total',
    ),
    (
        'for (int offset = LANES / 2; offset; offset /= 2)\n        total',
        'for (int offset = LANES; offset; offset /= 2)\n        total',
    ),
    # box_losses
    ('if (blockIdx.x == 0 && threadIdx.x == 0) *n_finished = 0;', ''),
    ('*n_finished = 0;', '*n_finished = 1;'),
    (': log((A)-1);', ': (A)0;'),
    ('own_row < n_row ? label[own_row] : -1;', 'own_row < n_row ? label[own_row] : 0;'),
    ('own_row < n_row ? label[own_row] : -1;', 'label[own_row];'),
    ('own_row < n_row ? label[own_row] : -1;', 'own_row <= n_row ? label[own_row] : -1;'),
    ('__ballot_sync(FULL_WARP, own_label >= 0)', '__ballot_sync(FULL_WARP, own_label > 0)'),
    ('__ballot_sync(FULL_WARP, own_label >= 0)', '~0u'),
    ('(size_t)(base + group) * n_class', '(base + group) * n_class'),
    ('(size_t)(base + group) * n_class', '(size_t)base * n_class'),
    ('i < group + LANES; i++, x += n_class)', 'i < group + LANES; i++)'),
    ('i < group + LANES; i++, x += n_class)', 'i < group + LANES - 1; i++, x += n_class)'),
    ('if (i == lane) own_maximum', 'own_maximum'),
    ('        if (own_label < 0) continue;\n', ''),
    ('x = confs + (size_t)own_row * n_class;', 'x = confs + own_row * n_class;'),
    ('        x = confs + (size_t)own_row * n_class;\n', ''),
    ('own_label < n_class ? log', 'own_label <= n_class ? log'),
    ('own_label < n_class ? log', 'own_label < (1 << 29) ? log'),
    (
        'log(own_total) - (load(x + own_label) - own_maximum)',
        'log(own_total) - load(x + own_label) + own_maximum',
    ),
    (
        'log(own_total) - (load(x + own_label) - own_maximum)',
        'log(own_total) - (load(x + own_label) + own_maximum)',
    ),
    (
        'log(own_total) - (load(x + own_label) - own_maximum)',
        'log(own_total) - (load(x) - own_maximum)',
    ),
    (
        'threadIdx.x - lane, step = gridDim.x * blockDim.x;',
        'threadIdx.x, step = gridDim.x * blockDim.x;',
    ),
    (
        'threadIdx.x - lane, step = gridDim.x * blockDim.x;',
        'threadIdx.x - lane, step = 2 * gridDim.x * blockDim.x;',
    ),
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
    ('uint32 first = blockIdx.x * n_box;', 'uint32 first = 0;'),
    ('make_key(loss[first + i], label[first + i])', 'make_key(loss[i], label[first + i])'),
    ('make_key(loss[first + i], label[first + i])', 'make_key(loss[first + i], label[i])'),
    ('return keys_in_shared ? keys[i] : make', 'return true ? keys[i] : make'),
    (
        'first digit.\n    for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',
        'first digit.\n    for (int i = threadIdx.x; i < BINS - 1; i += blockDim.x) bins[i] = 0;\n',
    ),
    (
        'first digit.\n    for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',
        'first digit.\n    for (int i = threadIdx.x; i <= BINS; i += blockDim.x) bins[i] = 0;\n',
    ),
    (
        'first digit.\n    for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',
        'first digit.\n',
    ),
    ('start += BATCH * blockDim.x', 'start += blockDim.x'),
    ('start += BATCH * blockDim.x', 'start += (BATCH + 1) * blockDim.x'),
    (
        'j < BATCH && i < n_box; j++, i += blockDim.x)\n            labels',
        'j < BATCH - 1 && i < n_box; j++, i += blockDim.x)\n            labels',
    ),
    (
        'j < BATCH && i < n_box; j++, i += blockDim.x) {\n            K key',
        'j < BATCH - 1 && i < n_box; j++, i += blockDim.x) {\n            K key',
    ),
    (
        'j < BATCH && i < n_box; j++, i += blockDim.x) {\n            K key',
        'j < BATCH && i <= n_box; j++, i += blockDim.x) {\n            K key',
    ),
    ('labels[j] = label[first + i]', 'labels[j] = label[i]'),
    ('own_losses[j] = loss[first + i]', 'own_losses[j] = loss[i]'),
    ('if (keys_in_shared) keys[i] = key;', 'keys[i] = key;'),
    ('if (keys_in_shared) keys[i] = key;', 'if (keys_in_shared) keys[i + 1] = key;'),
    ('n_positive += labels[j] > 0;', 'n_positive += labels[j] >= 0;'),
    ('n_positive += labels[j] > 0;', 'n_positive += labels[j] != 0;'),
    ('n_negative += labels[j] == 0;', 'n_negative += labels[j] <= 0;'),
    ('n_negative += labels[j] == 0;', 'n_negative += 1;'),
    ('atomicAdd(&bins[key >> (BITS - DIGIT_BITS)], 1);', 'bins[key >> (BITS - DIGIT_BITS)] = 1;'),
    ('bins[key >> (BITS - DIGIT_BITS)]', 'bins[key >> (BITS - DIGIT_BITS + 1)]'),
    # choose_rows: selection
    ('rank = n_hard, n_equal = 0;', 'rank = n_hard + 1, n_equal = 0;'),
    ('low = low > DIGIT_BITS ? low - DIGIT_BITS : 0;', 'low = low - DIGIT_BITS;'),
    ('bins[i] = 0;\n        __syncthreads();\n', 'bins[i] = 0;\n'),
    ('(key ^ prefix) >> high == 0', '(key ^ prefix) >> low == 0'),
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
    (
        'for (int low = BITS - DIGIT_BITS; n_hard > 0;)',
        'for (int low = BITS - DIGIT_BITS - 1; n_hard > 0;)',
    ),
    ('if (low == 0) break;', 'if (low <= DIGIT_BITS) break;'),
    (
        'low - DIGIT_BITS : 0;\n        for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',  # noqa: E501
        'low - DIGIT_BITS : 0;\n        for (int i = threadIdx.x; i < BINS - 1; i += blockDim.x) bins[i] = 0;\n',  # noqa: E501
    ),
    (
        'low - DIGIT_BITS : 0;\n        for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',  # noqa: E501
        'low - DIGIT_BITS : 0;\n        for (int i = threadIdx.x; i <= BINS; i += blockDim.x) bins[i] = 0;\n',  # noqa: E501
    ),
    (
        'low - DIGIT_BITS : 0;\n        for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;\n',  # noqa: E501
        'low - DIGIT_BITS : 0;\n',
    ),
    ('if ((key ^ prefix) >> high == 0) atomicAdd', 'atomicAdd'),
    ('(int)(key >> low) & (BINS - 1)], 1);', '(int)(key >> low) & (BINS - 1)], 2);'),
    ('(int)(key >> low) & (BINS - 1)], 1);', '(int)key & (BINS - 1)], 1);'),
    ('(BINS - 1)], 1);\n        }\n        __syncthreads();\n', '(BINS - 1)], 1);\n        }\n'),
    # choose_rows: ties and sums
    ('A loc_loss = 0, conf_loss = 0;', 'A loc_loss = 0, conf_loss = 1;'),
    ('if (rank < n_equal) {  // uniform', 'if (false) {  // uniform'),
    ('if (rank < n_equal) {  // uniform', 'if (rank + 1 < n_equal) {  // uniform'),
    ('d < 0 ? -d : d', 'd'),
    ('size < 1 ? d * d / 2', 'size < 2 ? d * d / 2'),
    ('size < 1 ? d * d / 2 :', 'size < 1 ? d * d :'),
    ('size - (A)0.5', 'size'),
    ('double loc = block_sum((double)loc_loss, scratch_d);', 'double loc = loc_loss;'),
    ('double conf = block_sum((double)conf_loss, scratch_d);', 'double conf = loc;'),
    ('int tie_end = n_box;', 'int tie_end = 0;'),
    ('if (n_hard <= 0) prefix = ~(K)0, tie_end = 0;', ''),
    ('if (n_hard <= 0) prefix', 'if (n_hard == 0) prefix'),
    ('if (n_hard <= 0) prefix = ~(K)0, tie_end = 0;', 'if (n_hard <= 0) prefix = ~(K)0;'),
    ('if (n_hard <= 0) prefix = ~(K)0, tie_end = 0;', 'if (n_hard <= 0) tie_end = 0;'),
    ('(n_box + blockDim.x - 1) / blockDim.x, own_count', 'n_box / blockDim.x, own_count'),
    ('int begin = threadIdx.x * per_thread;', 'int begin = threadIdx.x;'),
    ('own_count += find_key(i) == prefix;', 'own_count += find_key(i) >= prefix;'),
    (
        'if (before < rank && rank <= before + own_count)',
        'if (before < rank && rank < before + own_count)',
    ),
    ('int i = begin - 1;', 'int i = begin;'),
    ('while (before < rank) before', 'while (before < rank - 1) before'),
    ('before += find_key(++i) == prefix;', 'before += find_key(++i) >= prefix;'),
    ('shared_int = i + 1;', 'shared_int = i;'),
    ('        __syncthreads();\n        tie_end = shared_int;', '        tie_end = shared_int;'),
    ('key > prefix || (key == prefix && i < tie_end)', 'key > prefix'),
    ('key > prefix || (key == prefix && i < tie_end)', 'key >= prefix'),
    ('key > prefix || (key == prefix && i < tie_end)', '(key == prefix && i < tie_end)'),
    (
        'key > prefix || (key == prefix && i < tie_end)',
        'key > prefix || (key == prefix && i <= tie_end)',
    ),
    ('positive = key == POSITIVE;', 'positive = key <= POSITIVE;'),
    ('selected[first + i] = positive || hard;', 'selected[i] = positive || hard;'),
    ('selected[first + i] = positive || hard;', 'selected[first + i] = hard;'),
    ('selected[first + i] = positive || hard;', 'if (positive || hard) selected[first + i] = 1;'),
    (
        'if (positive || hard) conf_loss += loss[first + i];',
        'if (hard) conf_loss += loss[first + i];',
    ),
    ('if (positive || hard) conf_loss += loss[first + i];', 'conf_loss += loss[first + i];'),
    (
        'if (positive || hard) conf_loss += loss[first + i];',
        'if (positive || hard) conf_loss += loss[i];',
    ),
    ('        if (positive)\n', '        if (positive || hard)\n'),
    ('        if (positive)\n', ''),
    ('c < 4; c++) {\n                size_t j', 'c < 3; c++) {\n                size_t j'),
    ('c < 4; c++) {\n                size_t j', 'c < 5; c++) {\n                size_t j'),
    ('size_t j = 4 * (size_t)(first + i) + c;', 'int j = 4 * (first + i) + c;'),
    ('size_t j = 4 * (size_t)(first + i) + c;', 'size_t j = 4 * (size_t)i + c;'),
    ('load(locs + j) - gt_locs[j]', 'load(locs + j) + gt_locs[j]'),
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
    ('A d = load(locs + i) - gt_locs[i];', 'A d = load(locs + i) + gt_locs[i];'),
    ('(d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale', 'd * loc_scale'),
    ('(d > 1 ? (A)1 : d < -1 ? (A)-1 : d) * loc_scale', '(d > 1 ? (A)1 : d) * loc_scale'),
    ('d < -1 ? (A)-1 : d) * loc_scale', 'd < -1 ? (A)-1 : d) * conf_scale'),
    ('if (!grad_confs) continue;', ''),
    ('c == label[row] ? value - 1 : value', 'value'),
    ('c == label[row] ? value - 1 : value', 'c == label[row] ? value + 1 : value'),
    ('value - 1 : value) * conf_scale', 'value - 1 : value) * loc_scale'),
    ('i < n_store; i += blockDim.x)', 'i < n_store - 1; i += blockDim.x)'),
    ('i < n_store; i += blockDim.x)', 'i <= n_store; i += blockDim.x)'),
    (
        'i = n_store * PER_STORE + threadIdx.x; i < n;',
        'i = n_store * PER_STORE + threadIdx.x; i <= n;',
    ),
    (
        'i = n_store * PER_STORE + threadIdx.x; i < n;',
        'i = n_store * PER_STORE + threadIdx.x; i < n - 1;',
    ),
    ('i = n_store * PER_STORE + threadIdx.x; i < n;', 'i = n_store + threadIdx.x; i < n_store;'),
    ('int step = gridDim.x * blockDim.x;', 'int step = 2 * gridDim.x * blockDim.x;'),
    ('int own_row = base + lane * n_warp + warp;', 'int own_row = base + threadIdx.x;'),
    ('n_row - base < blockDim.x ? n_row - base : blockDim.x', 'blockDim.x'),
    ('n_row - base < blockDim.x ? n_row - base : blockDim.x', 'n_row - base'),
    ('own_row < n_row && selected[own_row]', 'own_row <= n_row && selected[own_row]'),
    ('own_row < n_row && selected[own_row]', 'selected[own_row]'),
    ('own_row < n_row && selected[own_row]', 'own_row < n_row'),
    ('if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);', ''),
    (
        'if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);',
        'fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);',
    ),
    (
        'if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);',
        'if (grad_locs) fill_zeros(grad_locs + 4 * base, 4 * n_own);',
    ),
    (
        'if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, 4 * n_own);',
        'if (grad_locs) fill_zeros(grad_locs + 4 * (size_t)base, n_own);',
    ),
    ('if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);', ''),
    (
        'if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);',
        'fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);',
    ),
    (
        'if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);',
        'if (grad_confs) fill_zeros(grad_confs + base * n_class, n_own * n_class);',
    ),
    (
        'if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_own * n_class);',
        'if (grad_confs) fill_zeros(grad_confs + (size_t)base * n_class, n_class);',
    ),
    ('        __syncthreads();  // other threads write the zeros of a row\n', ''),
    (
        'if (grad_locs && is_selected && label[own_row] > 0)',
        'if (is_selected && label[own_row] > 0)',
    ),
    ('if (grad_locs && is_selected && label[own_row] > 0)', 'if (grad_locs && is_selected)'),
    ('if (grad_locs && is_selected && label[own_row] > 0)', 'if (grad_locs && label[own_row] > 0)'),
    ('c < 4; c++) {  // gradient', 'c < 3; c++) {  // gradient'),
    ('c < 4; c++) {  // gradient', 'c < 5; c++) {  // gradient'),
    ('size_t i = 4 * (size_t)own_row + c;', 'int i = 4 * own_row + c;'),
    ('__ballot_sync(FULL_WARP, is_selected)', '~0u'),
    ('rows; rows &= rows - 1)', 'rows; rows = 0)'),
    ('(__ffs(rows) - 1) * n_warp + warp', '(__ffs(rows) - 1) * n_warp'),
    ('(__ffs(rows) - 1) * n_warp + warp', '__ffs(rows) * n_warp + warp'),
    ('const T* x = confs + (size_t)row * n_class;', 'const T* x = confs + row * n_class;'),
    ('grad_confs + (size_t)row * n_class', 'grad_confs + row * n_class'),
    ('c = lane; c < n_class; c += 32)', 'c = lane; c <= n_class; c += 32)'),
    ('c = lane; c < n_class; c += 32)', 'c = lane; c < 32 && c < n_class; c += 32)'),
    ('exp(load(x + c) - maximum) / total', 'exp(load(x + c) - maximum)'),
    (
        'n_row, n_class, grad_loc_loss,        \\\n                     grad_conf_loss,',
        'n_row, n_class, grad_conf_loss,       \\\n                     grad_loc_loss,',
    ),
    # Entries
    (
        'choose_rows<T>(locs, gt_locs, label, loss, n_box, k, keys_in_shared, divide,',
        'choose_rows<T>(locs, gt_locs, label, loss, n_box, k, divide, keys_in_shared,',
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
    ('-(-n_row // THREADS_PER_BLOCK)', 'n_row // THREADS_PER_BLOCK'),
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
        'if (threadIdx.x % 32 == 0) scratch',
        'if (threadIdx.x % 32 == 1) scratch',
        'all threads of a warp have the same sum, bit for bit',
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
        '(key >> low) & (BINS - 1)',
        '(key >> low) & (((K)1 << (high - low)) - 1)',
        'the last digit without bits of the one before it has the same order',
    ),
    (
        'const int LANES = 8;',
        'const int LANES = 16;',
        'any power of two up to 32 gives the same losses up to rounding',
    ),
    (
        'A own_maximum = 0, own_total = 1;',
        'A own_maximum, own_total;',
        'rows that are active set both, and other rows do not read them',
    ),
    (
        'return keys_in_shared ? keys[i] : make',
        'return false ? keys[i] : make',
        'the keys are computed again in each pass: the same keys, more time',
    ),
    (
        '4 * (size_t)(first + i) + c;',
        '4 * (first + i) + c;',
        'the sum is unsigned, and there are fewer than 2**30 boxes',
    ),
    (
        '#define BATCH 4',
        '#define BATCH 3',
        'the same boxes are loaded in other batches',
    ),
    (
        'label[own_row] > 0)\n',
        'label[own_row] != 0)\n',
        'ignored rows are not selected',
    ),
    (
        'log_sum_exp<32>(x,',
        'log_sum_exp<16>(x,',
        'both halves of the warp then compute the same',
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
    (
        'if (before < rank && rank <= before + own_count)',
        'if (before <= rank && rank <= before + own_count)',
        'two threads then write an end of the selection, and no box with the key lies between',
    ),
]
