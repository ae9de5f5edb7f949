"""Objects that VOC marks as ``difficult`` and COCO as ``iscrowd``, from file to gradients."""

import warnings

import chainer
import numpy as np
import pytest
from chainer.dataset import concat_examples

from chainer_ssd import (
    COCOBboxDataset,
    EncodeTransform,
    MatchTransform,
    VOCBboxDataset,
    multibox_loss,
    ssd_loss,
)
from tests.datasets import coco_folder, voc_folder
from tests.helpers import to_numpy


def voc(root, return_flag):
    xml = voc_folder.annotation([('dog', (11, 11, 31, 31), 0), ('cat', (41, 21, 61, 41), 1)])
    return VOCBboxDataset(
        voc_folder.write(root, {'a': xml}), 'train', ['cat', 'dog'], return_difficult=return_flag
    )


def coco(root, return_flag):
    content = coco_folder.coco(
        [(3, 90, [10, 10, 20, 20], 0), (3, 2, [40, 20, 20, 20], 1)], images=(3,)
    )
    return COCOBboxDataset(*coco_folder.write(root, content), return_crowd=return_flag)


@pytest.mark.parametrize('make', [voc, coco])
@pytest.mark.parametrize('return_flag', [True, False])
def test_ignored_objects_are_neither_positive_nor_negative(tmp_path, xp, make, return_flag):
    # One box on the object, one on the ignored object, one that it covers half, and one elsewhere.
    default_bbox = np.array(
        [(20, 20, 20, 20), (30, 50, 20, 20), (30, 50, 10, 20), (5, 70, 8, 8)], 'f'
    )
    data = make(tmp_path, return_flag)
    for transform in (MatchTransform(default_bbox), EncodeTransform(default_bbox)):
        data = chainer.datasets.TransformDataset(data, transform)
    _, gt_mb_locs, gt_mb_labels = concat_examples([data[0]])
    assert gt_mb_labels.tolist() == ([[2, -1, -1, 0]] if return_flag else [[2, 0, 0, 0]])

    mb_locs = chainer.Variable(xp.asarray(np.ones((1, 4, 4), 'f')))
    mb_confs = chainer.Variable(xp.asarray(np.random.default_rng(0).normal(size=(1, 4, 3)), 'f'))
    sum(
        multibox_loss(mb_locs, mb_confs, xp.asarray(gt_mb_locs), xp.asarray(gt_mb_labels), 3)
    ).backward()
    assert to_numpy(mb_locs.grad).any(axis=2).tolist() == [[True, False, False, False]]
    assert to_numpy(mb_confs.grad).any(axis=2).tolist() == [
        [True, False, False, True] if return_flag else [True] * 4
    ]


@pytest.mark.parametrize('mining', [{}, {'mining_type': 'hard_example', 'sample_size': 9}])
@pytest.mark.parametrize('with_lens', [True, False])
def test_difficult_ground_truths_of_ssd_loss_are_neither_positive_nor_negative(mining, with_lens):
    prior = np.array([(10, 10, 30, 30), (40, 20, 60, 40), (40, 25, 60, 35), (66, 1, 74, 9)], 'f')
    bbox = np.array([(10, 10, 30, 30), (40, 20, 60, 40)], 'f')
    location = chainer.Variable(np.ones((2, 4, 4), 'f'))
    confidence = chainer.Variable(np.random.default_rng(0).normal(size=(2, 4, 3)).astype('f'))
    difficult = [np.array([False, True]), np.array([False, False])]
    truth = {'gt_box': [bbox, bbox], 'gt_label': [[2, 1], [2, 1]], 'gt_difficult': difficult}
    if with_lens:
        truth = {name: np.concatenate(value) for name, value in truth.items()}
        truth['gt_lens'] = [2, 2]
    ssd_loss(
        location,
        confidence,
        prior_box=prior,
        prior_box_var=np.full(4, 0.1, 'f'),
        reduce='sum',
        **truth,
        **mining,
    ).backward()
    moved = [[True, False, False, False], [True, True, True, False]]
    assert location.grad.any(axis=2).tolist() == moved
    assert confidence.grad.any(axis=2).tolist() == [[True, False, False, True], [True] * 4]


def test_a_wrong_number_of_flags_is_named():
    prior = np.array([(10, 10, 30, 30)], 'f')
    for difficult in ([[True, False]], [[True], [False]], [[1]], [['no']]):
        with warnings.catch_warnings(), pytest.raises((TypeError, ValueError)) as caught:
            ssd_loss(
                np.zeros((1, 1, 4), 'f'),
                np.zeros((1, 1, 3), 'f'),
                [prior],
                [[1]],
                prior,
                gt_difficult=difficult,
            )
        assert 'expected' in str(caught.value)
