"""Oracles: the definitions as loops over Python numbers, too simple to be wrong."""

import math


def iou(a, b):
    """Return the intersection over union of two boxes (y_min, x_min, y_max, x_max)."""
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    if height <= 0 or width <= 0:
        return 0.0
    intersection = height * width
    area_a, area_b = ((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))
    return intersection / (area_a + area_b - intersection)


def corners(box):
    """Return (y_min, x_min, y_max, x_max) of a box (cy, cx, h, w)."""
    cy, cx, h, w = box
    return cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2


def match(overlap, n_box, iou_thresh, match_type, neg_overlap, ignore):
    """Return the assignment of each default box.

    ``overlap[r][k]`` is the IoU of ground truth r with default box k.
    """
    index = [-1] * n_box
    truths = [r for r in range(len(overlap)) if not ignore[r]]

    if match_type == 'argmax':
        for r in truths:
            best = 0
            for k in range(n_box):
                if overlap[r][k] > overlap[r][best]:
                    best = k
            index[best] = r
    elif match_type != 'threshold':
        free = set(truths)
        while free:
            best = None
            for k in range(n_box):
                for r in sorted(free):
                    if index[k] == -1 and overlap[r][k] > 1e-6:
                        if best is None or overlap[r][k] > overlap[best[1]][best[0]]:
                            best = k, r
            if best is None:
                break
            index[best[0]] = best[1]
            free.remove(best[1])

    for k in range(n_box):
        if index[k] != -1 or not truths:
            continue
        best = truths[0]
        for r in truths:
            if overlap[r][k] > overlap[best][k]:
                best = r
        if match_type != 'bipartite' and overlap[best][k] >= iou_thresh:
            index[k] = best
        elif neg_overlap is not None and overlap[best][k] >= neg_overlap:
            index[k] = -2
    for k in range(n_box):
        for r in range(len(overlap)):
            if index[k] == -1 and ignore[r] and overlap[r][k] >= iou_thresh:
                index[k] = -2
    return index


def encode(default_bbox, bbox, label, index, variance):
    """Return the targets (mb_loc, mb_label).

    ``variance`` holds four numbers for each default box.
    """
    mb_loc, mb_label = [], []
    for k, (cy, cx, h, w) in enumerate(default_bbox):
        if index[k] < 0:
            mb_loc.append([0.0, 0.0, 0.0, 0.0])
            mb_label.append(0 if index[k] == -1 else -1)
            continue
        y_min, x_min, y_max, x_max = bbox[index[k]]
        mb_loc.append(
            [
                ((y_min + y_max) / 2 - cy) / h / variance[k][0],
                ((x_min + x_max) / 2 - cx) / w / variance[k][1],
                math.log((y_max - y_min) / h) / variance[k][2],
                math.log((x_max - x_min) / w) / variance[k][3],
            ]
        )
        mb_label.append(label[index[k]] + 1)
    return mb_loc, mb_label


def hardest(loss, candidates, n):
    """Return the n ``candidates`` with the largest loss.

    NaN counts as the largest. Ties go to the lower index.
    """

    def sort_key(k):
        return (0, 0.0, k) if math.isnan(loss[k]) else (1, -loss[k], k)

    return set(sorted(candidates, key=sort_key)[:n])


def non_maximum_suppression(bbox, thresh, score):
    """Return the indices of the kept boxes, by falling score."""
    kept = []
    for i in sorted(range(len(bbox)), key=lambda i: (-score[i], i)):
        if all(iou(bbox[i], bbox[j]) < thresh for j in kept):
            kept.append(i)
    return kept


def cross_entropy(logits, column):
    """Return −log softmax(logits)[column]."""
    largest = max(logits)
    return math.log(sum(math.exp(x - largest) for x in logits)) - (logits[column] - largest)


def huber(d):
    """Return the Huber loss with δ = 1."""
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


def multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k):
    """Return (loc_loss, conf_loss) of nested lists."""
    loc_loss = conf_loss = 0.0
    n = 0
    for locs, confs, gt_locs, labels in zip(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels):
        positive = [i for i in range(len(labels)) if labels[i] > 0]
        negative = [i for i in range(len(labels)) if labels[i] == 0]
        n += len(positive)
        loss = {i: cross_entropy(confs[i], 0) for i in negative}
        hard = hardest(loss, negative, math.ceil(k * len(positive)))
        for i in positive:
            loc_loss += sum(huber(x - t) for x, t in zip(locs[i], gt_locs[i]))
            conf_loss += cross_entropy(confs[i], labels[i])
        conf_loss += sum(loss[i] for i in hard)
    return (loc_loss / n, conf_loss / n) if n else (0.0, 0.0)
