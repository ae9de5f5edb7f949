import numpy as np
import pytest

from chainer_ssd.evaluation import (
    calc_detection_confusion_matrix,
    calc_detection_voc_prec_rec,
)

BOX, OTHER, FAR, NEAR = (0, 0, 19, 19), (30, 30, 49, 49), (80, 80, 99, 99), (0, 4, 19, 23)


def matrix_of(preds, gts, difficults=None, **options):
    """``preds``: (box, label, score) of one image. ``gts``: (box, label)."""
    columns = [
        [np.array([row[0] for row in preds], 'f').reshape(-1, 4)],
        [np.array([row[1] for row in preds], int)],
        [np.array([row[2] for row in preds], 'f')],
        [np.array([row[0] for row in gts], 'f').reshape(-1, 4)],
        [np.array([row[1] for row in gts], int)],
    ]
    flags = None if difficults is None else [difficults]
    options = {'n_class': 2, **options}
    return calc_detection_confusion_matrix(*columns, flags, **options).tolist()


@pytest.mark.parametrize(
    ('preds', 'gts', 'cells'),
    [
        ([(BOX, 0, 0.9)], [(BOX, 0)], {(0, 0): 1}),
        ([(BOX, 1, 0.9)], [(BOX, 0)], {(0, 1): 1}),
        ([(BOX, 0, 0.4)], [(BOX, 0)], {(0, 2): 1}),  # below the threshold
        ([(FAR, 1, 0.9)], [(BOX, 0)], {(2, 1): 1, (0, 2): 1}),
        ([(BOX, 0, 0.8), (NEAR, 0, 0.9)], [(BOX, 0)], {(0, 0): 1, (2, 0): 1}),  # twice
        # A found ground truth is not taken for another class.
        ([(BOX, 1, 0.9), (BOX, 0, 0.6)], [(BOX, 0)], {(0, 0): 1, (2, 1): 1}),
        # Two detections of another class: the one with the higher score takes it.
        ([(NEAR, 1, 0.9), (BOX, 1, 0.8)], [(BOX, 0)], {(0, 1): 1, (2, 1): 1}),
        # The largest IoU decides among two ground truths.
        ([(BOX, 1, 0.9)], [(NEAR, 0), (BOX, 0)], {(0, 1): 1, (0, 2): 1}),
        ([], [(BOX, 0), (OTHER, 1)], {(0, 2): 1, (1, 2): 1}),
        ([(BOX, 0, 0.9)], [], {(2, 0): 1}),
        ([], [], {}),
    ],
)
def test_cells_by_hand(preds, gts, cells):
    expected = [[cells.get((i, j), 0) for j in range(3)] for i in range(3)]
    assert matrix_of(preds, gts) == expected


def test_ignored_objects_stand_in_no_cell_nor_do_detections_of_their_class():
    gts = [(BOX, 0), (OTHER, 1)]
    preds = [(BOX, 0, 0.9), (NEAR, 0, 0.8), (OTHER, 0, 0.7)]
    assert matrix_of(preds, gts, [True, False]) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert matrix_of([(BOX, 1, 0.9)], gts[:1], [True]) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def random_columns(seed, n_image=20, n_class=3):
    rng = np.random.default_rng(seed)

    def boxes(n):
        corner = rng.integers(0, 40, (n, 2))
        return np.concatenate([corner, corner + rng.integers(8, 20, (n, 2))], axis=1).astype('f')

    columns = [[] for _ in range(6)]
    for _ in range(n_image):
        n_pred, n_gt = rng.integers(0, 12), rng.integers(0, 8)
        gt = boxes(n_gt)
        pred = np.concatenate([boxes(n_pred), gt + rng.integers(-2, 3, gt.shape)]).astype('f')
        pred[:, 2:] = np.maximum(pred[:, 2:], pred[:, :2])
        for column, array in zip(
            columns,
            (
                pred,
                rng.integers(0, n_class, len(pred)),
                rng.integers(0, 8, len(pred)) / 8,
                gt,
                rng.integers(0, n_class, n_gt),
                rng.random(n_gt) < 0.2,
            ),
        ):
            column.append(array)
    return columns


@pytest.mark.parametrize('seed', range(5))
def test_sums_and_the_diagonal(seed):
    columns = random_columns(seed)
    thresholds = [0.25, 0.5, 0.75]
    matrix = calc_detection_confusion_matrix(*columns, n_class=3, score_thresh=thresholds)
    gt_label, difficult = np.concatenate(columns[4]), np.concatenate(columns[5])
    counted = np.bincount(gt_label[~difficult], minlength=3)
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), counted)
    assert matrix[-1, -1] == 0
    prec, rec = calc_detection_voc_prec_rec(*columns)
    for label, thresh in enumerate(thresholds):
        scores = np.concatenate([s[lab == label] for s, lab in zip(columns[2], columns[1])])
        last = np.count_nonzero(scores >= thresh) - 1
        n_true = round(rec[label][last] * counted[label])
        assert matrix[label, label] == n_true
        n_counted = matrix[:, label].sum()
        assert n_true / n_counted == pytest.approx(prec[label][last])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'n_class': 0}, 'n_class = 0: expected an integer from 1 to 5000'),
        ({'score_thresh': 2}, r'score_thresh = 2: expected a number in \[0, 1\]'),
        ({'score_thresh': [0.5]}, 'score_thresh = .*expected a number in .* 2 of them'),
        ({'score_thresh': [0.5, float('nan')]}, 'score_thresh = '),
        ({'iou_thresh': -1}, 'iou_thresh = -1'),
        ({'n_class': 1}, r'gt_labels\[0\].*expected a class below 1'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        matrix_of([(BOX, 0, 0.9)], [(BOX, 1)], **options)
