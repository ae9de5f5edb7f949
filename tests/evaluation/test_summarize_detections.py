import importlib.util

import numpy as np
import pytest

from chainer_ssd.evaluation import (
    best_score_thresholds,
    calc_detection_voc_prec_rec,
    summarize_detections,
)
from chainer_ssd.evaluation.summarize_detections import best_f1

BOX, OTHER, FAR = (0, 0, 9, 9), (20, 20, 29, 29), (50, 50, 59, 59)
NAMES = ['blue', 'red', 'green']
# blue: a true positive, a false one, a true one. red: one difficult ground truth.
COLUMNS = {
    'pred_bboxes': [[BOX, FAR], [OTHER]],
    'pred_labels': [[0, 0], [0]],
    'pred_scores': [[0.9, 0.8], [0.7]],
    'gt_bboxes': [[BOX], [OTHER, FAR, FAR]],
    'gt_labels': [[0], [0, 0, 1]],
    'gt_difficults': [[False], [False, False, True]],
}


def test_figures_by_hand():
    summary, (prec, rec) = summarize_detections(**COLUMNS, label_names=NAMES)
    blue, red, green = (summary['classes'][name] for name in NAMES)
    assert blue['ap'] == pytest.approx(1 / 3 + 1 / 3 * 2 / 3) == summary['map']
    assert (blue['n_truth'], blue['n_difficult'], blue['n_detection']) == (3, 0, 3)
    assert blue['best_f1'] == pytest.approx(
        {'f1': 2 / 3, 'precision': 2 / 3, 'recall': 2 / 3, 'score_thresh': 0.7}
    )
    nothing = {'ap': None, 'n_truth': 0, 'n_difficult': 0, 'n_detection': 0, 'best_f1': None}
    assert red == {**nothing, 'n_difficult': 1} and green == nothing
    assert summary['n_image'] == 2
    expected_prec, expected_rec = calc_detection_voc_prec_rec(*COLUMNS.values())
    np.testing.assert_array_equal(prec[0], expected_prec[0])
    np.testing.assert_array_equal(rec[0], expected_rec[0])
    assert len(prec) == len(rec) == 3 and rec[1] is rec[2] is prec[2] is None


def test_cocos_figures_where_pycocotools_is_installed(monkeypatch):
    pytest.importorskip('pycocotools')
    summary, _ = summarize_detections(**COLUMNS, label_names=NAMES)
    recalls = np.linspace(0, 1, 101)  # precision 1 up to a recall of 1/3, then 2/3 up to 2/3
    ap = np.select([recalls <= 1 / 3, recalls <= 2 / 3], [1, 2 / 3]).mean()
    assert summary['coco'] == pytest.approx(
        dict.fromkeys(['mAP@[.5:.95]', 'mAP@.5', 'mAP@.75'], ap)
    )
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert 'coco' not in summarize_detections(**COLUMNS, label_names=NAMES)[0]


@pytest.mark.parametrize('gt_difficults', [None, [None, None]])
def test_without_difficult_flags_all_ground_truths_count(gt_difficults):
    columns = {**COLUMNS, 'gt_difficults': gt_difficults}
    summary, _ = summarize_detections(**columns, label_names=NAMES)
    assert (summary['classes']['red']['n_truth'], summary['classes']['red']['ap']) == (1, 0)


def test_iterators_are_accepted():
    columns = {name: iter(column) for name, column in COLUMNS.items()}
    expected, _ = summarize_detections(**COLUMNS, label_names=NAMES)
    assert summarize_detections(**columns, label_names=NAMES)[0] == expected


def test_no_images():
    with pytest.warns(UserWarning, match='no image to evaluate'):
        summary, curves = summarize_detections(*[()] * 5, label_names=['cat'])
    assert summary['map'] is None and summary['n_image'] == 0
    assert summary['classes']['cat']['best_f1'] is None and curves == ([None], [None])


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'label_names': ['blue']}, ValueError, 'label 1 occurs: expected one of the 1'),
        ({'label_names': 'blue'}, TypeError, 'label_names = '),
        ({'label_names': ['a', 'a']}, ValueError, 'label_names = '),
        ({'label_names': {'a', 'b'}}, TypeError, 'label_names = '),
        ({'gt_bboxes': 3}, TypeError, 'gt_bboxes = 3: expected an iterable'),
        ({'gt_difficults': 3}, TypeError, 'gt_difficults = 3: expected an iterable'),
        ({'gt_labels': [0, 1]}, ValueError, r'gt_labels\[0\] has shape \(\)'),
        ({'pred_scores': [[0.9, np.nan], [0.7]]}, ValueError, r'pred_scores\[0\]\[1\] = nan'),
        ({'pred_labels': [[0, 10**9], [0]]}, ValueError, r'pred_labels\[0\]\[1\] = 1000000000'),
        ({'gt_difficults': [[False]]}, ValueError, 'gt_difficults ends after 1 images'),
        ({'gt_labels': [[0]]}, ValueError, 'gt_labels ends after 1 images'),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        summarize_detections(**{**COLUMNS, 'label_names': NAMES, **changes})


def test_a_threshold_separates_unequal_scores_only():
    prec, rec = np.array([1, 1, 2 / 3]), np.array([0.25, 0.5, 0.5])
    assert best_f1(prec, rec, np.array([0.9, 0.8, 0.7]))['score_thresh'] == 0.8
    # At 0.8 the third detection counts as well.
    best = best_f1(prec, rec, np.array([0.9, 0.8, 0.8]))
    assert best == pytest.approx(
        {'f1': 4 / 7, 'precision': 2 / 3, 'recall': 0.5, 'score_thresh': 0.8}
    )
    assert best_f1(np.array([np.nan, 0]), np.zeros(2), np.array([0.9, 0.8])) is None


def test_the_metric_of_2007():
    pytest.importorskip('pycocotools')
    summary, curves = summarize_detections(**COLUMNS, label_names=NAMES, use_07_metric=True)
    # blue: precision 1 at recalls of 0 to 1/3, then 2/3 up to 2/3.
    assert summary['classes']['blue']['ap'] == pytest.approx((4 + 3 * 2 / 3) / 11)
    assert summary['map'] == summary['classes']['blue']['ap']
    assert summary['use_07_metric'] is True
    expected, expected_curves = summarize_detections(**COLUMNS, label_names=NAMES)
    assert expected['use_07_metric'] is False and expected['coco'] == summary['coco']
    np.testing.assert_equal(curves, expected_curves)


@pytest.mark.parametrize('use_07_metric', [2, 'no', None])
def test_use_07_metric_is_a_flag(use_07_metric):
    with pytest.raises(TypeError, match='use_07_metric = '):
        summarize_detections(**COLUMNS, label_names=NAMES, use_07_metric=use_07_metric)


def test_other_ious_by_hand():
    # 8 of 20 columns shared: IoU 8 / 20 with VOC's inclusive maxima. The other box is exact.
    inexact, exact = [0, 0, 9, 13], [0, 20, 9, 29]
    columns = {
        'pred_bboxes': [np.array([inexact, exact], np.float32)],
        'pred_labels': [np.array([1, 0])],
        'pred_scores': [np.array([0.9, 0.8])],
        'gt_bboxes': [np.array([[0, 6, 9, 19], exact], np.float32)],
        'gt_labels': [np.array([1, 0])],
    }
    summary, _ = summarize_detections(**columns, label_names=NAMES)
    assert summary['map'] == 0.5
    assert summary['by_iou'] == {
        '0.3': {'map': 1, 'ap': {'blue': 1, 'red': 1, 'green': None}},
        '0.75': {'map': 0.5, 'ap': {'blue': 1, 'red': 0, 'green': None}},
    }


def test_areas_and_the_confusion_matrix_by_hand():
    summary, _ = summarize_detections(**COLUMNS, label_names=NAMES)
    small = summary['by_area']['small']
    assert small == {
        'map': summary['map'],
        'n_truth': 3,
        'ap': {'blue': summary['map'], 'red': None, 'green': None},
    }
    assert summary['by_area']['large'] == {
        'map': None,
        'n_truth': 0,
        'ap': dict.fromkeys(NAMES),
    }
    assert best_score_thresholds(summary) == [0.7, 0.5, 0.5]
    assert summary['confusion_matrix'] == {
        'iou_thresh': 0.5,
        'score_thresh': [0.7, 0.5, 0.5],
        'labels': [*NAMES, None],
        'matrix': [[2, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
    }
    many = [str(i) for i in range(301)]
    assert summarize_detections(**COLUMNS, label_names=many)[0]['confusion_matrix'] is None
