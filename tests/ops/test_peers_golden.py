"""Compares ``ops`` with the recorded answers of the peers' operators, on NumPy and CuPy."""

import numpy as np
import pytest

from chainer_ssd import bbox_iou, decode, encode, hard_example_mining, hard_negative_mining, match
from chainer_ssd.ops import corner_to_center
from chainer_ssd.ops.matching import Matcher
from tests.conftest import GOLDEN
from tests.helpers import assert_close, to_numpy

SWAP = [1, 0, 3, 2]


def cases_with(*keys):
    """Return the golden cases that hold one of ``keys``."""
    found = []
    for path in sorted(GOLDEN.glob('*.npz')):
        with np.load(path) as golden:
            if set(keys) & set(golden.files):
                found.append(path.stem)
    assert found, keys
    return found


def load(case):
    with np.load(GOLDEN / f'{case}.npz') as arrays:
        return dict(arrays)


def option(golden, name, default):
    return golden[f'in.{name}'].item() if f'in.{name}' in golden else default


def ground_truths(golden):
    """Return the ground truths (y_min, x_min, y_max, x_max) of each image."""
    return np.split(golden['in.gt_box'][:, SWAP], np.cumsum(golden['in.gt_lens'])[:-1])


MATCHES = ['paddle.match_idx', 'caffe.match_idx', 'torchvision.match_idx']


@pytest.mark.parametrize('case', cases_with(*MATCHES))
def test_matches(case, xp):
    golden = load(case)
    corner = golden['in.prior'][:, SWAP]
    thresh = option(golden, 'overlap_threshold', 0.5)
    match_type = option(golden, 'match_type', 'per_prediction')
    recorded = [
        (peer, kind)
        for peer, kind in (('paddle', match_type), ('caffe', match_type), ('torchvision', 'argmax'))
        if f'{peer}.match_idx' in golden
    ]
    for peer, kind in recorded:
        matcher = Matcher.of_corners(xp.asarray(corner), thresh, kind)
        for i, bbox in enumerate(ground_truths(golden)):
            expected = golden[f'{peer}.match_idx'][i]
            np.testing.assert_array_equal(to_numpy(matcher(xp.asarray(bbox))), expected)
            np.testing.assert_array_equal(
                to_numpy(
                    match(xp.asarray(corner_to_center(corner)), xp.asarray(bbox), thresh, kind)
                ),
                expected,
            )


@pytest.mark.parametrize('case', cases_with('paddle.iou'))
def test_iou_and_encoding(case, xp):
    golden = load(case)
    corner, bbox = (xp.asarray(golden[key][:, SWAP]) for key in ('in.prior', 'in.gt_box'))
    assert_close(bbox_iou(bbox, corner), golden['paddle.iou'], 2e-7)

    default_bbox = corner_to_center(corner)
    variance = xp.asarray(golden['in.prior_var'][:, SWAP])
    usable = np.flatnonzero((to_numpy(default_bbox)[:, 2:] > 0).all(axis=1))
    for row, expected in enumerate(golden['paddle.encoded'][..., SWAP]):
        index = np.full(len(corner), -1, 'i')
        index[usable] = row
        mb_loc, _ = encode(
            default_bbox, bbox, xp.asarray(np.zeros(len(bbox), 'i')), xp.asarray(index), variance
        )
        assert_close(to_numpy(mb_loc)[usable], expected[usable], 2e-5)
        back = to_numpy(
            decode(default_bbox[usable], xp.asarray(expected[usable]), variance[usable])
        )
        np.testing.assert_allclose(back, np.tile(to_numpy(bbox)[row], (len(back), 1)), atol=2e-5)


def cross_entropy(golden, index):
    """Return the float64 loss of each box with the class of its ground truth, or background."""
    start = np.cumsum(golden['in.gt_lens']) - golden['in.gt_lens']
    label = np.full(index.shape, option(golden, 'background_label', 0))
    image, box = np.nonzero(index >= 0)
    label[image, box] = golden['in.gt_label'][start[image] + index[image, box]]
    x = golden['in.conf'].astype('d')
    return np.log(np.exp(x).sum(axis=2)) - np.take_along_axis(x, label[..., None], axis=2)[..., 0]


@pytest.mark.parametrize('case', cases_with('paddle.neg_idx'))
def test_mining(case, xp):
    golden = load(case)
    index = golden['paddle.match_idx']
    loss, positive = cross_entropy(golden, index), index >= 0
    if option(golden, 'mining_type', 'max_negative') == 'hard_example':
        if option(golden, 'use_loc_loss', 0):
            start = np.cumsum(golden['in.gt_lens']) - golden['in.gt_lens']
            image, box = np.nonzero(positive)
            target = golden['paddle.encoded'][start[image] + index[image, box], box]
            d = np.abs(golden['in.loc'][image, box] - target)
            loss[image, box] += np.where(d < 1, d * d / 2, d - 0.5).sum(axis=1)
        selected = to_numpy(hard_example_mining(xp.asarray(loss), option(golden, 'sample_size', 0)))
        np.testing.assert_array_equal(
            np.where(selected & positive, index, -1), golden['paddle.upd_match_idx']
        )
        hard_negative = selected & ~positive
    else:
        ratio = option(golden, 'neg_pos_ratio', 3.0)
        n_negative = np.floor(ratio * positive.sum(axis=1)).astype('i')
        hard_negative = to_numpy(
            hard_negative_mining(xp.asarray(loss), xp.asarray(positive), xp.asarray(n_negative))
        )
    np.testing.assert_array_equal(hard_negative.sum(axis=1), golden['paddle.neg_lens'])
    np.testing.assert_array_equal(np.nonzero(hard_negative)[1], golden['paddle.neg_idx'][:, 0])
