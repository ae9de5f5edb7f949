"""Objects that VOC marks as ``difficult`` and COCO as ``iscrowd``, from file to gradients."""

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
