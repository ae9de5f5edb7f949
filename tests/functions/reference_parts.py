"""Reference implementations of the parts of an objective, as loops over Python numbers."""

import math


def smooth_l1(x, t, beta=1.0):
    loss = 0.0
    for a, b in zip(x, t):
        d = abs(a - b)
        loss += d * d / (2 * beta) if d < beta else d - beta / 2
    return loss


def l2(x, t):
    return sum((a - b) ** 2 / 2 for a, b in zip(x, t))


def decoded(default, offsets, variance):
    cy, cx, h, w = default
    dy, dx, dh, dw = (o * v for o, v in zip(offsets, variance))
    return cy + h * dy, cx + w * dx, h * math.exp(dh), w * math.exp(dw)


def iou_loss(kind, x, t, default, variance):
    b, g = decoded(default, x, variance), decoded(default, t, variance)
    lows, highs, far_lows, far_highs = [], [], [], []
    for i in (0, 1):
        ends = [(c[i] - c[i + 2] / 2, c[i] + c[i + 2] / 2) for c in (b, g)]
        lows.append(max(low for low, _ in ends))
        highs.append(min(high for _, high in ends))
        far_lows.append(min(low for low, _ in ends))
        far_highs.append(max(high for _, high in ends))
    inter = max(highs[0] - lows[0], 0) * max(highs[1] - lows[1], 0)
    union = b[2] * b[3] + g[2] * g[3] - inter
    iou = inter / union
    height, width = far_highs[0] - far_lows[0], far_highs[1] - far_lows[1]
    if kind == 'iou':
        return 1 - iou
    if kind == 'giou':
        return 1 - iou + (height * width - union) / (height * width)
    distance = ((b[0] - g[0]) ** 2 + (b[1] - g[1]) ** 2) / (height**2 + width**2)
    if kind == 'diou':
        return 1 - iou + distance
    v = 4 / math.pi**2 * (math.atan(g[3] / g[2]) - math.atan(b[3] / b[2])) ** 2
    alpha = v / (1 - iou + v) if v else 0.0
    return 1 - iou + distance + alpha * v


def log_softmax(x):
    m = max(x)
    total = math.log(sum(math.exp(a - m) for a in x)) + m
    return [a - total for a in x]


def shares(t, n_class):
    return [float(c == t) for c in range(n_class)] if isinstance(t, int) else t


def softmax_cross_entropy(x, t, class_weight=None, label_smoothing=0.0):
    n = len(x)
    weight = class_weight or [1.0] * n
    return -sum(
        w * ((1 - label_smoothing) * q + label_smoothing * sum(shares(t, n)) / n) * log_p
        for w, q, log_p in zip(weight, shares(t, n), log_softmax(x))
    )


def sigmoid_cross_entropy(x, t):
    loss = 0.0
    for a, q in zip(x, shares(t, len(x))):
        p = 1 / (1 + math.exp(-a))
        loss -= q * math.log(p) + (1 - q) * math.log(1 - p)
    return loss


def focal_loss(x, t, gamma=2.0, alpha=0.25):
    loss = 0.0
    for c, (log_p, q) in enumerate(zip(log_softmax(x), shares(t, len(x)))):
        a = alpha if c else 1 - alpha
        loss -= a * q * (1 - math.exp(log_p)) ** gamma * log_p
    return loss


def kind_of(t):
    """Return whether a target is 'positive', 'negative' or 'ignored'."""
    if isinstance(t, int):
        return 'positive' if t > 0 else 'negative' if t == 0 else 'ignored'
    return 'positive' if any(t[1:]) else 'negative' if t[0] else 'ignored'


def objective(
    mb_locs,
    mb_confs,
    gt_mb_locs,
    gt_mb_labels,
    localization,
    confidence,
    mine,
    count,
    alpha=1.0,
    box_weight=None,
):
    """Return both losses. ``mine(kinds, losses)`` returns the boxes of both losses of an image."""
    n_image = len(mb_locs)
    loc_sum, conf_sum, selected = 0.0, 0.0, []
    for i in range(n_image):
        kinds = [kind_of(t) for t in gt_mb_labels[i]]
        losses = [
            (
                confidence(mb_confs[i][k], gt_mb_labels[i][k]) if kind != 'ignored' else None,
                localization(mb_locs[i][k], gt_mb_locs[i][k], k) if kind == 'positive' else 0.0,
                softmax_cross_entropy(mb_confs[i][k], 0),
            )
            for k, kind in enumerate(kinds)
        ]
        positive, negative = mine(kinds, losses)
        weight = box_weight[i] if box_weight is not None else [1.0] * len(kinds)
        loc_sum += sum(weight[k] * losses[k][1] for k in positive)
        conf_sum += sum(weight[k] * losses[k][0] for k in positive | negative)
        selected.append((kinds, positive, negative))
    divisor = count(selected)
    if divisor == 0:
        return 0.0, 0.0
    return alpha * loc_sum / divisor, conf_sum / divisor


def largest(candidates, loss, n):
    return set(sorted(candidates, key=lambda k: (-loss(k), k))[:n])


def hard_negative(k=3.0, rounding=math.ceil, minimum=0, cap=None, by_own_class=False):
    def mine(kinds, losses):
        positive = {i for i, kind in enumerate(kinds) if kind == 'positive'}
        negative = {i for i, kind in enumerate(kinds) if kind == 'negative'}
        n = max(rounding(k * len(positive)), minimum)
        n = n if cap is None else min(n, cap)
        return positive, largest(negative, lambda i: losses[i][0 if by_own_class else 2], n)

    return mine


def hard_example(sample_size, with_localization=False):
    def mine(kinds, losses):
        boxes = [i for i, kind in enumerate(kinds) if kind != 'ignored']
        found = largest(
            boxes, lambda i: losses[i][0] + with_localization * losses[i][1], sample_size
        )
        positive = {i for i in found if kinds[i] == 'positive'}
        return positive, found - positive

    return mine


def all_negatives(kinds, losses):
    return tuple({i for i, kind in enumerate(kinds) if kind == k} for k in ('positive', 'negative'))


def positives(selected):
    return sum(kinds.count('positive') for kinds, _, _ in selected)


def matches_after_mining(selected):
    return sum(len(positive) for _, positive, _ in selected)


def positives_of_images(selected):
    return sum(max(1, kinds.count('positive')) for kinds, _, _ in selected)


def images(selected):
    return len(selected)


def boxes(selected):
    return sum(len(kinds) for kinds, _, _ in selected)
