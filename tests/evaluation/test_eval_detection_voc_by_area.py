import numpy as np
import pytest

from chainer_ssd.evaluation import (
    eval_detection_coco,
    eval_detection_voc,
    eval_detection_voc_by_area,
)

SMALL, MEDIUM, LARGE = (0, 0, 20, 20), (100, 0, 150, 60), (200, 0, 350, 200)


def test_each_area_has_its_ground_truths_and_false_detections():
    far = (400, 400, 420, 420)  # small and false
    columns = (
        [np.array([SMALL, MEDIUM, far], 'f')],
        [np.zeros(3, int)],
        [np.array([0.8, 0.7, 0.9])],
        [np.array([SMALL, MEDIUM, LARGE], 'f')],
        [np.zeros(3, int)],
    )
    result = eval_detection_voc_by_area(*columns)
    assert [each['n_truth'] for each in result.values()] == [1, 1, 1]
    assert result['small']['map'] == pytest.approx(0.5)  # the false detection comes first
    assert result['medium']['map'] == pytest.approx(1)
    assert result['large']['map'] == 0
    difficult = eval_detection_voc_by_area(*columns, [[True, False, False]])
    assert np.isnan(difficult['small']['map']) and difficult['small']['n_truth'] == 0


def test_one_area_only_equals_the_plain_figure():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 200, (10, 6, 2))
    gt = np.concatenate([corner, corner + rng.uniform(40, 80, (10, 6, 2))], axis=2)
    pred = gt + rng.normal(0, 4, gt.shape)
    label, score = rng.integers(0, 3, (10, 6)), rng.random((10, 6))
    columns = iter(pred), iter(label), iter(score), iter(gt), iter(label)  # each read only once
    result = eval_detection_voc_by_area(*columns)
    expected = eval_detection_voc(pred, label, score, gt, label)
    np.testing.assert_array_equal(result['medium']['ap'], expected['ap'])
    assert result['medium']['n_truth'] == 60 and np.isnan(result['large']['map'])


def test_close_to_cocos_figures_at_an_iou_of_a_half():
    pytest.importorskip('pycocotools')
    rng = np.random.default_rng(1)
    n_image, n = 200, 5
    corner = rng.uniform(0, 500, (n_image, n, 2))
    gt = np.concatenate([corner, corner + rng.uniform(10, 150, (n_image, n, 2))], axis=2)
    # Far from the threshold, which VOC's inclusive maxima shift for small boxes.
    sides = np.tile(gt[..., 2:] - gt[..., :2], 2)
    shift = np.where(rng.random((n_image, n, 1)) < 0.7, 0, 0.6) * sides
    pred = np.concatenate([gt + shift + rng.normal(0, 0.02, gt.shape) * sides, gt[::-1]], axis=1)
    label = np.zeros((n_image, n), int)
    pred_label, score = np.zeros((n_image, 2 * n), int), rng.random((n_image, 2 * n))
    score[:, :n] = np.sqrt(score[:, :n])
    columns = pred, pred_label, score, gt, label
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in gt]
    coco = eval_detection_coco(*columns, gt_areas=areas)['coco_eval']
    for i, (_name, figures) in enumerate(eval_detection_voc_by_area(*columns).items()):
        # (threshold, recall, class, area, max_dets); area 0 is all of them
        expected = coco.eval['precision'][0, :, 0, i + 1, 2].mean()
        assert 0.2 < expected < 0.95
        assert figures['map'] == pytest.approx(expected, abs=0.015)
