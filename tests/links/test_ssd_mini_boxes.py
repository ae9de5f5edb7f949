"""Sizes and aspect ratios of SSDMini: from a data set, in a folder, and as arguments."""

import json

import numpy as np
import pytest

from chainer_ssd import ShapesBboxDataset, SSDMini, load_detector, save_detector
from chainer_ssd.links import create_detector, fit_ssd_mini_boxes
from chainer_ssd.ops import bbox_iou, center_to_corner, generate_default_bbox

RATIOS = [[2, 5], [], [3], [2]]
SIZES = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_default_boxes_are_those_of_the_arguments():
    model = SSDMini(2, 64, sizes=SIZES, aspect_ratios=RATIOS)
    expected = generate_default_bbox(
        [16, 8, 4, 2], RATIOS, [4, 8, 16, 32], [64 * size for size in SIZES]
    )
    np.testing.assert_array_equal(model.coder.default_bbox, expected)
    mb_locs, mb_confs = model(np.zeros((1, 3, 64, 64), 'f'))
    assert mb_locs.shape[1] == mb_confs.shape[1] == len(expected)
    assert model.sizes == tuple(SIZES) and model.aspect_ratios == ((2, 5), (), (3,), (2,))


def test_a_folder_holds_them_and_they_load(tmp_path):
    model = create_detector('ssd_mini', 2, 64, sizes=SIZES, aspect_ratios=RATIOS)
    save_detector(tmp_path, model, ['a', 'b'])
    loaded = load_detector(tmp_path)
    assert (loaded.sizes, loaded.aspect_ratios) == (model.sizes, model.aspect_ratios)
    np.testing.assert_array_equal(loaded.coder.default_bbox, model.coder.default_bbox)
    with pytest.raises(ValueError, match='sizes is .*: expected None'):
        load_detector(tmp_path, SSDMini(2, 64))


def test_a_folder_with_the_default_ones_does_not_name_them(tmp_path):
    save_detector(tmp_path, SSDMini(2, 32), ['a', 'b'])
    description = json.loads((tmp_path / 'model.json').read_text())
    assert set(description) == {'model', 'insize', 'box_scale', 'label_names'}


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('sizes', [0.1, 0.2]),
        ('sizes', [0.1, 0.2, 0.3, 0.4, -1]),
        ('sizes', 3),
        ('sizes', ['a'] * 5),
        ('aspect_ratios', [[2]]),
        ('aspect_ratios', [2, 2, 2, 2]),
        ('aspect_ratios', [[2], [2], [2], [0]]),
        ('aspect_ratios', [list(range(1, 1000)), [], [], []]),
    ],
)
def test_wrong_values(key, value, tmp_path):
    with pytest.raises((TypeError, ValueError)):
        SSDMini(2, 32, **{key: value if key == 'sizes' or len(value) < 4 else [0, *value[1:]]})
    save_detector(tmp_path, SSDMini(2, 32), ['a', 'b'])
    file = tmp_path / 'model.json'
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, key: value}))
    with pytest.raises(ValueError, match='model.json'):
        load_detector(tmp_path)


def test_the_papers_models_take_none():
    with pytest.raises(ValueError, match='ssd300 has those of the paper'):
        create_detector('ssd300', 1, sizes=SIZES)


def test_the_recall_of_a_data_set_is_that_of_the_model():
    dataset = ShapesBboxDataset(30)
    fit = fit_ssd_mini_boxes(dataset, 64)
    model = SSDMini(3, 64, sizes=fit.sizes, aspect_ratios=fit.aspect_ratios)
    bbox = np.concatenate([dataset.get_annotation(i)[0] for i in range(30)]) / 2
    for each, recall, n_box in (
        (model, fit.recall, fit.n_box),
        (SSDMini(3, 64), fit.recall_before, fit.n_box_before),
    ):
        corners = center_to_corner(each.coder.default_bbox.astype('d'))
        best = bbox_iou(bbox.astype('d'), corners).max(axis=1)
        assert (best >= 0.5).mean() == pytest.approx(recall, abs=0.02)
        assert len(corners) == n_box
    assert fit.recall >= fit.recall_before
