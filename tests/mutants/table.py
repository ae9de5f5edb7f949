"""The mutants, file by file."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One changed line of the package."""

    #: File below ``chainer_ssd/``.
    file: str
    #: Text that stands once in the file.
    old: str
    #: Text that replaces it.
    new: str
    #: Test files below ``tests/``, the most likely to fail first.
    tests: tuple[str, ...]


def _mutants(file, tests, *changes):
    return [Mutant(file, old, new, tests) for old, new in changes]


MUTANTS = [
    *_mutants(
        'ops/matching.py',
        ('ops/test_matching.py', 'ops/test_matching_exact.py', 'ops/test_peers_golden.py'),
        ('MIN_MATCH_IOU = 1e-6', 'MIN_MATCH_IOU = 0'),
        ('MIN_MATCH_IOU = 1e-6', 'MIN_MATCH_IOU = 1e-5'),
        ('xp.full(n_box, -1,', 'xp.full(n_box, 0,'),
        ('assignable[~ignore], assignable[ignore]', 'assignable[ignore], assignable[~ignore]'),
        ('index[index >= 0] = assignable[index[index >= 0]]', 'pass'),
        ('.max(axis=0) >= self.iou_thresh', '.max(axis=0) > self.iou_thresh'),
        ('.max(axis=0) >= self.iou_thresh', '.min(axis=0) >= self.iou_thresh'),
        ('index[(index == -1) & is_covered] = -2', 'index[is_covered] = -2'),
        ("if self.match_type != 'bipartite':", "if self.match_type == 'argmax':"),
        ('(best >= self.iou_thresh)', '(best > self.iou_thresh)'),
        ('(best >= self.neg_overlap)', '(best > self.neg_overlap)'),
        ('box = xp.flatnonzero((index < 0) &', 'box = xp.flatnonzero((index < 9) &'),
        ('index[box] = iou[:, box].argmax(axis=0)', 'index[box] = 0'),
        ('if value > MIN_MATCH_IOU:', 'if value > 0.01:'),
        ('iou[:, box] = -1', 'iou[:, box] = iou[:, box]'),
    ),
    *_mutants(
        'ops/boxes.py',
        ('ops/test_boxes.py',),
        ('union -= intersection', 'union -= 0'),
        ('area_a = xp.maximum((y_max - y_min)', 'area_a = xp.maximum((y_max + y_min)'),
        ('xp.maximum(sizes, zero, out=sizes)', 'pass'),
        ('default_bbox[..., 2:] / 2', 'default_bbox[..., 2:]'),
        ('(bbox[..., :2] + size / 2, size)', '(bbox[..., :2] + size, size)'),
        ('[1, 0, 3, 2]', '[1, 0, 2, 3]'),
    ),
    *_mutants(
        'ops/coding.py',
        ('ops/test_coding.py', 'ops/test_peers_golden.py'),
        ('xp.minimum(loc[..., 2:], MAX_LOG_RATIO)', 'loc[..., 2:]'),
        ('default_bbox[:, :2] + default_bbox[:, 2:] * loc', 'default_bbox[:, :2] + loc'),
        ('loc = mb_loc * check_variance', 'loc = mb_loc / check_variance'),
        ('(variance > 0) & xp.isfinite', '(variance >= 0) & xp.isfinite'),
        ('(truth[:, :2] - default[:, :2]) /', '(truth[:, :2] + default[:, :2]) /'),
        ('xp.log(truth[:, 2:] / default[:, 2:])', 'truth[:, 2:] / default[:, 2:] - 1'),
        ('xp.minimum(index, -1) + 1', 'xp.minimum(index, -1) * 0'),
        ('label[truth_of_positive] + 1', 'label[truth_of_positive]'),
    ),
    *_mutants(
        'ops/mining.py',
        ('ops/test_mining.py',),
        ('negative = ~(positive | ignored)', 'negative = ~positive'),
        ('(rank < n_negative[:, None])', '(rank <= n_negative[:, None])'),
        ('_rank_by_loss(get_array_module(loss), loss) < sample_size', '(loss > 0) & True'),
        (
            "last - xp.argsort(loss[:, ::-1], axis=1, kind='stable')[:, ::-1]",
            "xp.argsort(loss, axis=1, kind='stable')[:, ::-1]",
        ),
    ),
    *_mutants(
        'ops/nms.py',
        ('ops/test_nms.py',),
        ('iou_of_columns(block, block) >= thresh', 'iou_of_columns(block, block) > thresh'),
        ('columns) >= thresh).any(axis=0)', 'columns) > thresh).any(axis=0)'),
        ('is_better = rank[:, None] < rank', 'is_better = rank[:, None] > rank'),
        ('n_missing -= len(kept[-1])', 'n_missing -= 0'),
    ),
    *_mutants(
        'ops/default_boxes.py',
        ('ops/test_default_boxes.py',),
        ('np.sqrt(sizes[k] * sizes[k + 1])', 'np.sqrt(sizes[k] * sizes[k])'),
        ('(np.arange(grid) + 0.5) * step', '(np.arange(grid)) * step'),
        ('[(short, long), (long, short)]', '[(long, short), (short, long)]'),
        ('scale[..., 0] = center[:, None, None]', 'scale[..., 0] = center[None, :, None]'),
    ),
    *_mutants(
        'functions/parts/mining.py',
        (
            'functions/test_mining_counts.py',
            'functions/test_multibox_objective.py',
            'functions/test_peers_golden.py',
        ),
        ('limit = xp.ceil(', 'limit = xp.floor('),
        ('n_positive = (gt_mb_labels > 0)', 'n_positive = (gt_mb_labels >= 0)'),
        ('n_negative = (gt_mb_labels == 0)', 'n_negative = (gt_mb_labels <= 0)'),
        ('xp.minimum(xp.floor(', 'xp.minimum(xp.ceil('),
        ('xp.minimum(xp.maximum(limit, self.minimum), n_negative)', 'xp.maximum(limit, 0)'),
        ('else xp.minimum(limit, self.cap)', 'else limit'),
        ("if self.by == 'background':", 'if True:'),
        ('loss = loss + batch.localization_loss()', 'loss = loss - batch.localization_loss()'),
        ('loss[batch.ignored] = -get', 'loss[batch.ignored] = +get'),
        ('return batch.positive & selected, batch', 'return batch.positive, batch'),
    ),
    *_mutants(
        'functions/parts/confidence.py',
        (
            'functions/test_multibox_objective.py',
            'functions/test_multibox_loss.py',
            'functions/fused/test_mining.py',
        ),
        ('background = shifted[:, :, 0]', 'background = shifted[:, :, -1]'),
        (
            'mb_confs.max(axis=2, keepdims=True) if maximum is None',
            '0 * mb_confs.max(axis=2, keepdims=True) if maximum is None',
        ),
        ('x = x - x.array.max(axis=1, keepdims=True)', 'x = x - 0'),
        ('return weight * smoothing / weight', 'return smoothing / weight'),
        ('weight * (1 - smoothing)\n', 'weight\n'),
        ('others**self.gamma', 'others**2'),
        ('weight[:1] = 1 - self.alpha', 'weight[:1] = self.alpha'),
    ),
    *_mutants(
        'functions/parts/localization.py',
        ('functions/test_multibox_objective.py',),
        ('F.huber_loss(x, t, 1)', 'F.huber_loss(x, t, 2)'),
        ('return self.beta * F', 'return F'),
        ('axis=1) / 2', 'axis=1)'),
    ),
    *_mutants(
        'functions/parts/iou_loss.py',
        ('functions/test_multibox_objective.py',),
        ('overlap = F.relu(', 'overlap = ('),
        ('(area - union)', '(area + union)'),
        ('alpha = v.array', 'alpha = v'),
        ('angle = xp.arctan2(t_size[:, 1], t_size[:, 0])', 'angle = 0'),
    ),
    *_mutants(
        'functions/multibox_objective.py',
        (
            'functions/test_multibox_objective.py',
            'functions/test_multibox_loss.py',
            'distributed/test_positive_count.py',
        ),
        ('if divisor == 0:', 'if divisor == -1:'),
        ('selected = positive | negative', 'selected = positive'),
        ('F.sum(loc_loss) / divisor', 'F.sum(loc_loss)'),
        ('F.sum(conf_loss) / divisor', 'F.mean(conf_loss)'),
        ('n if count is None else count(n))\n        if', 'n)\n        if'),
        ('smallest /= 1 if comm is None else comm.size', 'pass'),
        ('loc_loss * box_weight[positive]', 'loc_loss * 2 * box_weight[positive]'),
        ("== ('ceil', 0, None, 'background')", "!= ('floor', 9, None, 'background')"),
    ),
    *_mutants(
        'functions/_normalizer.py',
        ('functions/test_normalizer.py',),
        ('if value == 0 and', 'if value == -1 and'),
        ('and number >= 0)', ')'),
        ('not isinstance(value, (bool, str))', 'True'),
    ),
    *_mutants(
        'functions/_fused/node.py',
        ('functions/fused/test_node.py', 'functions/fused/test_node_special.py'),
        ('self.positive = self.not_background[label > 0]', 'self.positive = self.not_background'),
        ('d.clip(-1, 1)', 'd.clip(-2, 2)'),
        ('(d - self.loc_gradient / 2)', '(d - self.loc_gradient)'),
        ('x -= x.max(axis=0)', 'x -= 0'),
        ('x /= total', 'x /= total + 1'),
        ('x[target] -= 1', 'x[target] -= 0'),
        ('grads[i] / self.normalizer', 'grads[i]'),
        ('if self.count else n_positive) or 1)', 'if self.count else n_positive))'),
        ('selected = selected.astype(bool)', 'selected = selected.astype(bool) & False'),
        ('d /= beta', 'd /= 1'),
        ('linear = shared @ x', 'linear = 0'),
        ('x -= shared[:, None]', 'x -= 0'),
    ),
    *_mutants(
        'functions/_fused/mining.py',
        ('functions/fused/test_mining.py', 'functions/fused/test_node_special.py'),
        ('candidates[odds >= error', 'candidates[odds > 1.01 * error'),
        ('> n_hard_negative\n    if has_ties', '> n_hard_negative + 1\n    if has_ties'),
        ('odds[not_background] = -1', 'odds[not_background] = 0'),
        ('row.partition(-i)', 'row.partition(i - 1)'),
        ('is_padding = np.isneginf(loss)', 'is_padding = loss > 1e9'),
        ('np.where(odds < np.inf, odds, -1)', 'odds'),
    ),
    *_mutants(
        'functions/ssd_loss.py',
        ('functions/test_ssd_loss.py', 'functions/test_peers_golden.py'),
        ('if background_label:', 'if False:'),
        ('float(weight) / divisor * rows', 'float(weight) * rows'),
        ('(conf_loss_weight, selected, batch', '(1.0, selected, batch'),
        ("'floor', by='own class'", "'ceil', by='own class'"),
    ),
    *_mutants(
        'functions/_paddle_steps.py',
        ('functions/test_ssd_loss.py', 'functions/test_peers_golden.py'),
        ('index, swap_xy(variance), comm', 'index, variance, comm'),
    ),
    *_mutants(
        'functions/_targets.py',
        ('functions/test_ssd_loss.py', 'functions/test_peers_golden.py'),
        ('max(float(overlap_threshold), MIN_MATCH_IOU)', 'float(overlap_threshold)'),
    ),
    *_mutants(
        'functions/ssd_pytorch.py',
        ('functions/test_ssd_pytorch.py', 'functions/test_peers_golden.py'),
        ("self.overlap_thresh, 'argmax')", "self.overlap_thresh, 'per_prediction')"),
        ('                self.neg_pos,', '                3,'),
        ('self.num_classes - 1, name', 'self.num_classes, name'),
    ),
    *_mutants(
        'links/multibox_coder.py',
        ('links/test_multibox_coder.py', 'links/test_ssd_mini.py'),
        ('score[hit, label + 1]', 'score[hit, label]'),
        ('score_thresh) - 0.1', 'score_thresh) + 1.1'),
    ),
    *_mutants(
        'links/multibox_train_chain.py',
        ('links/test_multibox_train_chain.py',),
        ('self.alpha * loc_loss + conf_loss', 'loc_loss + self.alpha * conf_loss'),
        ('n_positive = (gt_mb_labels > 0)', 'n_positive = (gt_mb_labels >= 0)'),
    ),
    *_mutants(
        'distributed/positive_count.py',
        ('distributed/test_positive_count.py',),
        ('return count / size', 'return count'),
        ('!= int(s) ** 2', '== -1'),
        (
            'DIGIT_BITS, N_STEP_DIGITS, N_BATCH_DIGITS = 16, 3, 2',
            'DIGIT_BITS, N_STEP_DIGITS, N_BATCH_DIGITS = 16, 1, 2',
        ),
    ),
    *_mutants(
        'distributed/rank_sum.py',
        ('distributed/test_positive_count.py',),
        ('mpi_comm.Dup()', 'mpi_comm'),
        ('if private is None:\n        private = _', 'if True:\n        private = _'),
    ),
    *_mutants(
        'evaluation/eval_detection_voc.py',
        ('evaluation/test_eval_detection_voc.py',),
        ('n_true / np.maximum(n_counted, 1)', '(n_true + 1) / np.maximum(n_counted + 1, 1)'),
        ('np.arange(_N_INTERVAL + 1) * n_positive', 'np.arange(_N_INTERVAL) * n_positive'),
        ('searchsorted(n_true * _N_INTERVAL, points)', 'searchsorted(n_true * 10 - 1, points)'),
        ('np.maximum.accumulate(precision[::-1])[::-1]', 'precision'),
        ('ap[~np.isnan(ap)]', 'np.nan_to_num(ap)'),
    ),
    *_mutants(
        'datasets/yolo_labels.py',
        ('datasets/test_coco_results.py',),
        ('[(x_min + x_max) / 2, (y_min + y_max) / 2,', '[x_min + x_max, y_min + y_max,'),
        ('bbox / (height, width, height, width)', 'bbox / (width, height, width, height)'),
        ("['%.8f'] * 4", "['%.4f'] * 4"),
    ),
    *_mutants(
        'datasets/coco_results.py',
        ('datasets/test_coco_results.py',),
        ('x_max - x_min, y_max - y_min]', 'x_max, y_max]'),
        ('int(category_ids[each])', 'each'),
        ('for i in range(len(parts))', 'for i in range(1)'),
        ('if len(numbers.get(label_name, ())) != 1:', 'if label_name not in numbers:'),
    ),
    *_mutants(
        'visualizations/crop_bbox.py',
        ('visualizations/test_crop_bbox.py',),
        ('np.floor(box[:2])', 'np.ceil(box[:2])'),
        ('np.ceil(box[2:])', 'np.floor(box[2:])'),
        ('first + 1, limits)', 'first, limits)'),
    ),
    *_mutants(
        'cli/_saved_results.py',
        ('cli/test_predict_forms.py',),
        ("f'{self.stem}_frames'", 'self.stem'),
        (
            "folder, taken_stem = LABELS_FOLDER, 'classes'",
            'folder, taken_stem = LABELS_FOLDER, None',
        ),
        ('if each.casefold() not in taken', 'if each not in taken'),
    ),
]
