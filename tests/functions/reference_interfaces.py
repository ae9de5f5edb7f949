"""Reference implementations of the other interfaces, as loops over Python numbers."""

from tests import reference


def yxyx(box):
    x_min, y_min, x_max, y_max = box
    return y_min, x_min, y_max, x_max


def offsets(prior, variance, box):
    """Return (dx, dy, dw, dh) between two boxes (x_min, y_min, x_max, y_max)."""
    y_min, x_min, y_max, x_max = yxyx(prior)
    center = (y_min + y_max) / 2, (x_min + x_max) / 2, y_max - y_min, x_max - x_min
    (found,), _ = reference.encode(
        [center], [yxyx(box)], [0], [0], [[variance[i] for i in (1, 0, 3, 2)]]
    )
    return [found[i] for i in (1, 0, 3, 2)]


def smooth_l1(location, target):
    return sum(reference.huber(x - t) for x, t in zip(location, target))


def ssd_loss(
    location,
    confidence,
    gt_box,
    gt_label,
    prior_box,
    prior_box_var,
    background_label,
    overlap_threshold,
    neg_pos_ratio,
    neg_overlap,
    loc_loss_weight,
    conf_loss_weight,
    match_type,
    mining_type,
    normalize,
    sample_size,
    neg_overlap_mode,
    mine_with_loc_loss,
):
    """Return per image: the loss of each box, matches, positives and hard negatives."""
    n_box = len(prior_box)
    matches, positives, negatives, losses = [], [], [], []
    for i in range(len(location)):
        overlap = [
            [reference.iou(yxyx(box), yxyx(prior)) for prior in prior_box] for box in gt_box[i]
        ]
        band = (
            neg_overlap if neg_overlap_mode == 'caffe' and mining_type == 'max_negative' else None
        )
        match = reference.match(
            overlap, n_box, max(overlap_threshold, 1e-6), match_type, band, [False] * len(gt_box[i])
        )
        column = [
            gt_label[i][match[k]] if match[k] >= 0 else background_label for k in range(n_box)
        ]
        target = [
            offsets(prior_box[k], prior_box_var[k], gt_box[i][match[k]]) if match[k] >= 0 else None
            for k in range(n_box)
        ]
        conf_loss = [reference.cross_entropy(confidence[i][k], column[k]) for k in range(n_box)]
        loc_loss = [
            smooth_l1(location[i][k], target[k]) if target[k] else 0.0 for k in range(n_box)
        ]

        positive = {k for k in range(n_box) if match[k] >= 0}
        if mining_type == 'max_negative':
            negative = reference.hardest(
                conf_loss,
                [k for k in range(n_box) if match[k] == -1],
                int(neg_pos_ratio * len(positive)),
            )
        else:
            rank = [c + (p if mine_with_loc_loss else 0) for c, p in zip(conf_loss, loc_loss)]
            selected = reference.hardest(rank, range(n_box), sample_size)
            negative, positive = selected - positive, selected & positive
        matches.append(match)
        positives.append(positive)
        negatives.append(negative)
        losses.append(
            [
                (conf_loss_weight * conf_loss[k] if k in positive | negative else 0.0)
                + (loc_loss_weight * loc_loss[k] if k in positive else 0.0)
                for k in range(n_box)
            ]
        )

    n = sum(map(len, positives)) if normalize else 1
    losses = [[loss / n if n else 0.0 for loss in image] for image in losses]
    return losses, matches, positives, negatives


def multi_box_loss(loc, conf, priors, targets, overlap_thresh, neg_pos, variance):
    """Return (loss_l, loss_c) of ssd.pytorch."""
    loss_l = loss_c = 0.0
    n = 0
    corner = [(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) for cx, cy, w, h in priors]
    n_box = len(corner)
    for i in range(len(loc)):
        truths = [target[:4] for target in targets[i]]
        best_truth, best_overlap = [0] * n_box, [0.0] * n_box
        overlap = [
            [reference.iou(yxyx(truth), yxyx(prior)) for prior in corner] for truth in truths
        ]
        for k in range(n_box):
            for r in range(len(truths)):
                if overlap[r][k] > best_overlap[k]:
                    best_truth[k], best_overlap[k] = r, overlap[r][k]
        for r in range(len(truths)):
            best = 0
            for k in range(n_box):
                if overlap[r][k] > overlap[r][best]:
                    best = k
            best_truth[best], best_overlap[best] = r, 2.0
        positive = [k for k in range(n_box) if truths and best_overlap[k] >= overlap_thresh]
        n += len(positive)
        background = [reference.cross_entropy(row, 0) for row in conf[i]]
        hard = 0
        while hard < neg_pos * len(positive) and hard < n_box - 1:
            hard += 1
        hard = reference.hardest(background, [k for k in range(n_box) if k not in positive], hard)
        loss_c += sum(background[k] for k in hard)
        for k in positive:
            target = offsets(
                corner[k], [variance[0]] * 2 + [variance[1]] * 2, truths[best_truth[k]]
            )
            loss_l += smooth_l1(loc[i][k], target)
            loss_c += reference.cross_entropy(conf[i][k], int(targets[i][best_truth[k]][4]) + 1)
    return (loss_l / n, loss_c / n) if n else (0.0, 0.0)
