"""Default boxes that fit: the recall equals that of all boxes, and the search improves it."""

import numpy as np
import pytest

from chainer_ssd.ops import (
    bbox_iou,
    center_to_corner,
    fit_default_boxes,
    generate_default_bbox,
)

GRIDS, STEPS = (16, 8, 4), (8, 16, 32)
START = {'aspect_ratios': [(2,)] * 3, 'sizes': (16, 32, 64, 100)}


def objects(n=120, seed=0):
    """Thin objects of both directions inside an input of 128 pixels."""
    random = np.random.RandomState(seed)
    side = random.uniform([40, 6], [110, 14], (n, 2))
    side[::2] = side[::2, ::-1]
    corner = random.uniform(0, 128 - side)
    return np.concatenate([corner, corner + side], axis=1)


def recall_of_all_boxes(bbox, aspect_ratios, sizes, iou_thresh=0.5):
    default_bbox = generate_default_bbox(GRIDS, aspect_ratios, STEPS, sizes)
    best = bbox_iou(bbox, center_to_corner(default_bbox)).max(axis=1)
    return (best >= iou_thresh).mean(), best.mean(), len(default_bbox)


@pytest.mark.parametrize('iou_thresh', [0.5, 0.4])
def test_the_figures_are_those_of_all_default_boxes(iou_thresh):
    bbox = objects()
    fit = fit_default_boxes(bbox, GRIDS, steps=STEPS, iou_thresh=iou_thresh, **START)
    before = recall_of_all_boxes(bbox, START['aspect_ratios'], START['sizes'], iou_thresh)
    after = recall_of_all_boxes(bbox, fit.aspect_ratios, fit.sizes, iou_thresh)
    found_before = fit.recall_before, fit.mean_iou_before, fit.n_box_before
    np.testing.assert_allclose(found_before, before, atol=1e-5)
    np.testing.assert_allclose((fit.recall, fit.mean_iou, fit.n_box), after, atol=1e-5)


def test_more_objects_are_found_with_a_limited_number_of_boxes():
    fit = fit_default_boxes(objects(), GRIDS, steps=STEPS, **START)
    assert fit.recall_before < 0.5 < fit.recall - 0.2
    assert fit.n_box <= 1.5 * fit.n_box_before
    assert max(map(len, fit.aspect_ratios)) <= 4
    assert list(fit.sizes) == sorted(fit.sizes)
    none = fit_default_boxes(objects(), GRIDS, steps=STEPS, max_growth=1, **START)
    assert none.n_box == none.n_box_before and none.recall <= fit.recall


def test_the_same_objects_give_the_same_boxes():
    assert fit_default_boxes(objects(), GRIDS, steps=STEPS, **START) == fit_default_boxes(
        objects().tolist(), GRIDS, steps=STEPS, **START
    )


def test_boxes_that_fit_stay_as_they_are():
    default_bbox = generate_default_bbox(GRIDS, steps=STEPS, **START)
    fit = fit_default_boxes(center_to_corner(default_bbox)[20:40], GRIDS, steps=STEPS, **START)
    assert fit.recall == 1 and fit.mean_iou == pytest.approx(1, abs=1e-5)
    assert fit.sizes == START['sizes'] and fit.aspect_ratios == tuple(START['aspect_ratios'])


def test_weights_decide_which_objects_count():
    small = np.array([[60.0, 60, 66, 66], [20, 30, 26, 36]])
    bbox = np.concatenate([objects(100), small])
    options = {'grids': GRIDS[1:], 'steps': STEPS[1:], 'max_growth': 1}
    options.update(aspect_ratios=[()] * 2, sizes=(32, 64, 100))
    weight = np.r_[np.full(100, 1e-6), 1, 1]
    heavy, plain = (fit_default_boxes(bbox, **options, weight=each) for each in (weight, None))
    assert heavy.sizes[0] < plain.sizes[0] and plain.recall >= heavy.recall


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'bbox': np.zeros((0, 4))}, 'no box'),
        ({'bbox': [[0, 0, np.nan, 1]]}, 'bbox'),
        ({'iou_thresh': 2}, 'iou_thresh'),
        ({'max_ratios': -1}, 'max_ratios'),
        ({'max_growth': 0.5}, 'max_growth'),
        ({'sizes': (1, 2)}, 'sizes'),
        ({'weight': [1, 2]}, 'weight'),
        ({'weight': np.zeros(120)}, 'weight'),
    ],
)
def test_wrong_arguments(options, message):
    given = {'bbox': objects(), 'grids': GRIDS, 'steps': STEPS, **START, **options}
    with pytest.raises(ValueError, match=message):
        fit_default_boxes(**given)
