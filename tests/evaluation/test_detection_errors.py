import numpy as np
import pytest

from chainer_ssd.evaluation import (
    calc_detection_confusion_matrix,
    find_detection_errors,
    find_suspicious_labels,
)
from tests.evaluation.test_confusion_matrix import random_columns

BOX, NEAR, LOOSE, FAR = (0, 0, 19, 19), (0, 4, 19, 23), (0, 12, 19, 31), (60, 60, 79, 79)
SECOND = (100, 0, 139, 39)


def columns_of(preds, gts):
    return [
        [np.array([row[0] for row in preds], 'f').reshape(-1, 4)],
        [np.array([row[1] for row in preds], int)],
        [np.array([row[2] for row in preds], 'f')],
        [np.array([row[0] for row in gts], 'f').reshape(-1, 4)],
        [np.array([row[1] for row in gts], int)],
    ]


@pytest.mark.parametrize(
    ('pred', 'kind', 'other_label'),
    [
        ((NEAR, 0, 0.8), 'repeated', None),
        ((NEAR, 1, 0.8), 'wrong class', 0),
        ((LOOSE, 0, 0.8), 'inexact box', None),
        ((LOOSE, 1, 0.8), 'background', None),
        ((FAR, 0, 0.8), 'background', None),
    ],
)
def test_the_kind_of_a_false_detection(pred, kind, other_label):
    columns = columns_of([(BOX, 0, 0.9), pred], [(BOX, 0)])
    missed, (error,) = find_detection_errors(*columns, n_class=2)
    assert missed == []
    assert (error.kind, error.other_label, error.label) == (kind, other_label, pred[1])
    assert error.bbox == pred[0] and error.score == pytest.approx(0.8) and error.image == 0


def test_missed_ground_truths_by_their_cost():
    # Class 0 has three ground truths, class 1 has one.
    gts = [(BOX, 0), (FAR, 0), (SECOND, 0), ((200, 0, 209, 9), 1)]
    missed, false = find_detection_errors(*columns_of([(BOX, 1, 0.7)], gts), n_class=3)
    assert [(each.label, each.bbox) for each in missed] == [
        (1, gts[3][0]),
        (0, SECOND),  # the largest
        (0, BOX),
        (0, FAR),
    ]
    assert [each.map_cost for each in missed] == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert [each.other_label for each in missed] == [None, None, 1, None]
    assert [each.kind for each in false] == ['wrong class']


def test_difficult_objects_are_neither_missed_nor_false():
    columns = columns_of([(FAR, 0, 0.8)], [(BOX, 0), (FAR, 0)])
    missed, false = find_detection_errors(*columns, [[True, True]], n_class=1)
    assert missed == false == []


@pytest.mark.parametrize('seed', range(3))
def test_numbers_agree_with_the_confusion_matrix(seed):
    columns = random_columns(seed)
    matrix = calc_detection_confusion_matrix(*columns, n_class=3)
    missed, false = find_detection_errors(*columns, n_class=3)
    diagonal = np.trace(matrix)
    assert len(missed) == matrix[:-1].sum() - diagonal
    assert len(false) == matrix[:, :-1].sum() - diagonal
    scores = [each.score for each in false]
    assert scores == sorted(scores, reverse=True)


SURE = (BOX, 0, 0.9)


@pytest.mark.parametrize(
    ('preds', 'gts', 'expected'),
    [
        ([SURE], [(BOX, 0)], []),
        ([SURE], [], [('missing label', 0, 0.9, None)]),
        ([SURE, (NEAR, 1, 0.6)], [], [('missing label', 0, 0.9, None)]),  # one object
        ([(BOX, 0, 0.4)], [], []),
        ([SURE], [(BOX, 1)], [('swapped class', 1, 0.9, 0)]),
        ([SURE, (BOX, 1, 0.3)], [(BOX, 1)], [('swapped class', 1, 0.6, 0)]),
        ([SURE, (BOX, 1, 0.6)], [(BOX, 1)], []),
        ([(BOX, 0, 0.05)], [(BOX, 0)], [('denied label', 0, 0.95, None)]),
        ([(BOX, 1, 0.2)], [(BOX, 0)], []),
        ([SURE], [(BOX, 0), (BOX, 0)], [('repeated label', 0, 1, 0)]),
        ([SURE], [(BOX, 0), (BOX, 1)], [('repeated label', 1, 1, 0)]),
        ([SURE], [(BOX, 0), (LOOSE, 0)], [('denied label', 0, 1, None)]),  # an IoU of 1/4
    ],
)
def test_suspicious_labels_by_hand(preds, gts, expected):
    found = find_suspicious_labels(*columns_of(preds, gts))
    assert [(each.kind, each.label, each.other_label) for each in found] == [
        (kind, label, other) for kind, label, _, other in expected
    ]
    assert [each.suspicion for each in found] == pytest.approx([row[2] for row in expected])


def test_a_difficult_label_is_never_denied():
    columns = columns_of([], [(BOX, 0), (FAR, 0)])
    (found,) = find_suspicious_labels(*columns, [[True, False]])
    assert (found.kind, found.row, found.bbox) == ('denied label', 1, FAR)


def test_the_most_suspicious_come_first_and_options_are_checked():
    columns = columns_of([(BOX, 0, 0.6), (FAR, 0, 0.9)], [(SECOND, 0)])
    found = find_suspicious_labels(*columns)
    assert [each.suspicion for each in found] == pytest.approx([1, 0.9, 0.6])
    assert len(find_suspicious_labels(*columns, min_score=0.7)) == 2
    with pytest.raises(ValueError, match=r'min_score = 2: expected a number in \[0, 1\]'):
        find_suspicious_labels(*columns, min_score=2)
