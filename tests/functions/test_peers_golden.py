"""The losses equal those of the peers. ``tests/golden`` holds inputs and the peers' results."""

import warnings

import chainer
import chainer.functions as F
import numpy as np
import pytest

from chainer_ssd import MultiBoxLoss, encode, match, multibox_loss, ssd_loss
from chainer_ssd.functions import (
    Batch,
    HardExample,
    HardNegative,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from chainer_ssd.functions._paddle_steps import make_targets
from chainer_ssd.ops import corner_to_center, swap_xy
from tests.conftest import GOLDEN
from tests.helpers import assert_close, to_numpy

PADDLE_CASES = [
    'background_last',
    'bipartite',
    'hard_example',
    'hard_example_loc',
    'many_gts',
    'no_overlap_gt',
    'per_prior_variance',
    'plain_a',
    'plain_b',
    'plain_c',
    'ratio_1_5',
    'ratio_50',
    'shared_best',
    'ssd300',
    'thresh_0_7_neg_0_3',
    'unnormalized',
    'weights',
]
CAFFE_CASES = [
    'bipartite',
    'empty_image',
    'hard_example',
    'hard_example_loc',
    'many_gts',
    'no_overlap_gt',
    'per_prior_variance',
    'plain_a',
    'plain_b',
    'plain_c',
    'ratio_1_5',
    'ratio_50',
    'shared_best',
    'ssd300',
    'thresh_0_7_neg_0_3',
    'weights',
]
SSD_PYTORCH_CASES = [
    'many_gts',
    'no_overlap_gt',
    'plain_a',
    'plain_b',
    'plain_c',
    'ratio_50',
    'shared_best',
    'ssd300',
    'thresh_0_7_neg_0_3',
]
TORCHVISION_CASES = [
    'empty_image',
    'many_gts',
    'no_overlap_gt',
    'plain_a',
    'plain_b',
    'plain_c',
    'ratio_1_5',
    'ratio_50',
    'shared_best',
    'ssd300',
    'thresh_0_7_neg_0_3',
]
TORCHVISION_COUNTS_TWICE = ['many_gts', 'ratio_50']
MXNET_CASES = TORCHVISION_CASES
RTOL = 2e-5


def load(case):
    """Return the arrays of a case, and its options by the names of ``ssd_loss``."""
    golden = dict(np.load(GOLDEN / f'{case}.npz'))
    names = {'use_loc_loss': 'mine_with_loc_loss'}
    data = {'loc', 'conf', 'prior', 'prior_var', 'gt_box', 'gt_label', 'gt_lens'}
    options = {}
    for key, value in golden.items():
        prefix, _, name = key.partition('.')
        if prefix == 'in' and name not in data:
            options[names.get(name, name)] = value.item()
    return golden, options


def split(golden, array):
    return np.split(array, np.cumsum(golden['in.gt_lens'])[:-1])


def run_ssd_loss(xp, golden, **options):
    location, confidence = (
        chainer.Variable(xp.asarray(golden[key])) for key in ('in.loc', 'in.conf')
    )
    with warnings.catch_warnings():
        if 'neg_overlap_mode' not in options:
            warnings.filterwarnings('ignore', 'neg_overlap = 0.3 has no effect')
        loss = ssd_loss(
            location,
            confidence,
            golden['in.gt_box'],
            golden['in.gt_label'][:, None],
            golden['in.prior'],
            golden['in.prior_var'],
            gt_lens=golden['in.gt_lens'],
            **options,
        )
    return location, confidence, loss


def run_mining(
    golden,
    neg_overlap=None,
    background_label=0,
    overlap_threshold=0.5,
    neg_pos_ratio=3.0,
    match_type='per_prediction',
    mining_type='max_negative',
    sample_size=None,
    mine_with_loc_loss=False,
    **rest,
):
    """Return the matches before and after mining, the hard negatives, and the targets."""
    conf = golden['in.conf']
    targets = make_targets(
        chainer.get_device('@numpy'),
        *conf.shape,
        golden['in.gt_box'],
        golden['in.gt_label'],
        golden['in.gt_lens'],
        golden['in.prior'],
        golden['in.prior_var'],
        background_label,
        overlap_threshold,
        match_type,
        neg_overlap,
        None,
    )
    mining = HardNegative(neg_pos_ratio, 'floor', by='own class')
    if mining_type == 'hard_example':
        mining = HardExample(sample_size, mine_with_loc_loss)
    batch = Batch(
        chainer.Variable(golden['in.loc']),
        chainer.Variable(np.roll(conf, -background_label, axis=2)),
        targets.mb_locs,
        targets.mb_labels,
        SmoothL1(),
        SoftmaxCrossEntropy(),
    )
    positive, negative = mining(batch)
    index = np.maximum(targets.index, -1)
    return index, np.where(positive, index, -1), negative, targets


def check_gradients(golden, peer, loc_grad, conf_grad):
    for name, grad in (('gloc', to_numpy(loc_grad)), ('gconf', to_numpy(conf_grad))):
        if f'{peer}.{name}' in golden:
            assert_close(grad, golden[f'{peer}.{name}'], RTOL)
        else:  # the file of the largest case has norms only
            norm = np.linalg.norm(grad.reshape(len(grad), -1).astype('d'), axis=1)
            assert_close(norm, golden[f'{peer}.{name}_l2'], RTOL)


@pytest.mark.parametrize('reduce', ['image', 'no', 'sum'])
@pytest.mark.parametrize('case', PADDLE_CASES)
def test_ssd_loss_equals_paddle(case, reduce, xp):
    golden, options = load(case)
    location, confidence, loss = run_ssd_loss(xp, golden, reduce=reduce, **options)
    n_image, n_box = golden['in.loc'].shape[:2]
    assert loss.shape == {'no': (n_image * n_box, 1), 'image': (n_image, 1), 'sum': ()}[reduce]
    per_image = golden['paddle.loss']
    found = to_numpy(loss)
    if reduce == 'no':
        found = found.reshape(n_image, n_box).sum(axis=1, keepdims=True)
    assert_close(found, per_image if reduce != 'sum' else per_image.sum(), RTOL)
    F.sum(loss).backward()
    check_gradients(golden, 'paddle', location.grad, confidence.grad)


@pytest.mark.parametrize('case', PADDLE_CASES)
def test_matches_and_negatives_equal_paddle(case):
    golden, options = load(case)
    options.pop('neg_overlap', None)  # no effect in Paddle
    index, updated, hard_negative, targets = run_mining(golden, **options)
    np.testing.assert_array_equal(index, golden['paddle.match_idx'])
    np.testing.assert_array_equal(updated, golden['paddle.upd_match_idx'])
    np.testing.assert_array_equal(hard_negative.sum(axis=1), golden['paddle.neg_lens'])
    np.testing.assert_array_equal(np.nonzero(hard_negative)[1], golden['paddle.neg_idx'][:, 0])
    if 'paddle.encoded' in golden:
        image, box = np.nonzero(index >= 0)
        truth = np.cumsum(golden['in.gt_lens'])[image] - golden['in.gt_lens'][image]
        truth = truth + index[image, box]
        assert_close(targets.mb_locs[image, box], golden['paddle.encoded'][truth, box], RTOL)


@pytest.mark.parametrize('case', CAFFE_CASES)
def test_ssd_loss_equals_caffe(case, xp):
    golden, options = load(case)
    for weight in 'loc_loss_weight', 'conf_loss_weight':  # Caffe's losses are not weighted
        options.pop(weight, None)
    options.update(neg_overlap_mode='caffe', mine_with_loc_loss=True)
    for name, loc_weight, conf_weight in (('loc_loss', 1, 0), ('conf_loss', 0, 1)):
        loss = run_ssd_loss(
            xp,
            golden,
            reduce='sum',
            loc_loss_weight=loc_weight,
            conf_loss_weight=conf_weight,
            **options,
        )[2]
        assert_close(loss, golden[f'caffe.{name}'], RTOL)

    if options.get('mining_type') != 'hard_example':
        options.setdefault('neg_overlap', 0.5)
    index, updated, hard_negative, _ = run_mining(golden, **options)
    np.testing.assert_array_equal(index, golden['caffe.match_idx'])
    np.testing.assert_array_equal(updated, golden['caffe.upd_match_idx'])
    np.testing.assert_array_equal(hard_negative, golden['caffe.neg_mask'])
    assert (updated >= 0).sum() == golden['caffe.num_matches']


@pytest.mark.parametrize('case', ['bipartite', 'thresh_0_7_neg_0_3'])
def test_negatives_differ_with_the_band_of_caffe(case):
    # The two cases of both peers in which the band is not empty.
    golden, options = load(case)
    options.pop('neg_overlap', None)
    paddle = run_mining(golden, **options)[2]
    band = 0.5 if case == 'bipartite' else 0.3
    caffe = run_mining(golden, neg_overlap=band, **options)[2]
    assert (paddle != caffe).any() == (case == 'bipartite')


@pytest.fixture(params=['auto', 'never'])
def use_fused(request):
    with chainer.using_config('use_fused_multibox', request.param):
        yield


@pytest.mark.usefixtures('use_fused')
@pytest.mark.parametrize('case', SSD_PYTORCH_CASES)
def test_multi_box_loss_equals_ssd_pytorch(case, xp):
    golden, options = load(case)
    prior = golden['in.prior']
    priors = np.concatenate([(prior[:, :2] + prior[:, 2:]) / 2, prior[:, 2:] - prior[:, :2]], 1)
    targets = [
        np.c_[box, label - 1].astype('f')
        for box, label in zip(
            split(golden, golden['in.gt_box']), split(golden, golden['in.gt_label'])
        )
    ]
    criterion = MultiBoxLoss(
        golden['in.conf'].shape[2],
        options.get('overlap_threshold', 0.5),
        True,
        0,
        True,
        options.get('neg_pos_ratio', 3),
        0.5,
        False,
    )
    loc, conf = (chainer.Variable(xp.asarray(golden[key])) for key in ('in.loc', 'in.conf'))
    loss_l, loss_c = criterion((loc, conf, priors), targets)
    assert_close(loss_l, golden['ssd_pytorch.loc_loss'], RTOL)
    assert_close(loss_c, golden['ssd_pytorch.conf_loss'], RTOL)
    (loss_l + loss_c).backward()
    check_gradients(golden, 'ssd_pytorch', loc.grad, conf.grad)

    matched = criterion._make_targets(chainer.get_device('@numpy'), *loc.shape[:2], priors, targets)
    np.testing.assert_array_equal(matched.mb_labels, golden['ssd_pytorch.cls_target'])
    positive = matched.mb_labels > 0
    if 'ssd_pytorch.loc_target' in golden:
        assert_close(matched.mb_locs[positive], golden['ssd_pytorch.loc_target'][positive], RTOL)


@pytest.mark.usefixtures('use_fused')
@pytest.mark.parametrize('case', TORCHVISION_CASES)
def test_argmax_and_multibox_loss_equal_torchvision(case, xp):
    golden, options = load(case)
    default_bbox = corner_to_center(swap_xy(golden['in.prior']))
    targets = []
    for i, (bbox, label) in enumerate(
        zip(split(golden, swap_xy(golden['in.gt_box'])), split(golden, golden['in.gt_label']))
    ):
        index = match(default_bbox, bbox, options.get('overlap_threshold', 0.5), 'argmax')
        np.testing.assert_array_equal(index, golden['torchvision.match_idx'][i])
        targets.append(
            encode(default_bbox, bbox, label - 1, index, swap_xy(golden['in.prior_var']))
        )
    gt_mb_locs, gt_mb_labels = (xp.asarray(np.stack(a)) for a in zip(*targets))
    mb_locs = chainer.Variable(xp.asarray(swap_xy(golden['in.loc'])))
    mb_confs = chainer.Variable(xp.asarray(golden['in.conf']))
    loc_loss, conf_loss = multibox_loss(
        mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, options.get('neg_pos_ratio', 3)
    )
    (loc_loss + conf_loss).backward()
    loc_grad, conf_grad = to_numpy(swap_xy(mb_locs.grad)), to_numpy(mb_confs.grad)
    if case in TORCHVISION_COUNTS_TWICE:
        # torchvision's mask of the first k · n_i ranks includes more boxes than there are
        # negatives. The next ranks are positives, in no order, and these are summed twice.
        positive = to_numpy(gt_mb_labels) > 0
        surplus = options.get('neg_pos_ratio', 3) * positive.sum(1) - (~positive).sum(1)
        times = np.sum(golden['torchvision.gconf'] * conf_grad, axis=2) / np.sum(
            conf_grad**2, axis=2
        ).clip(np.finfo('f').tiny)
        twice = np.round(times) == 2
        assert (twice <= positive).all()
        np.testing.assert_array_equal(twice.sum(1), surplus.clip(0, positive.sum(1)))
        conf_grad = np.where(twice[:, :, None], 2 * conf_grad, conf_grad)
        x, t = golden['in.conf'][twice].astype('d'), to_numpy(gt_mb_labels)[twice]
        surplus_loss = np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), t]
        conf_loss = to_numpy(conf_loss) + surplus_loss.sum() / positive.sum()
    assert_close(loc_loss, golden['torchvision.loc_loss'], RTOL)
    assert_close(conf_loss, golden['torchvision.conf_loss'], RTOL)
    check_gradients(golden, 'torchvision', loc_grad, conf_grad)


@pytest.mark.parametrize('case', MXNET_CASES)
def test_targets_equal_mxnet(case):
    # MXNet's matches are above the threshold, not at it. No box of these cases is at it.
    golden, options = load(case)
    options.setdefault('neg_overlap', 0.5)
    index, updated, hard_negative, targets = run_mining(golden, **options)
    found = np.where(index >= 0, targets.mb_labels, np.where(hard_negative, 0, -1))
    np.testing.assert_array_equal(found, golden['mxnet.cls_target'])
    if 'mxnet.loc_target' in golden:
        assert_close(targets.mb_locs[index >= 0], golden['mxnet.loc_target'][index >= 0], RTOL)
    if 'mxnet.loc_mask' in golden:
        np.testing.assert_array_equal(golden['mxnet.loc_mask'][..., 0] > 0, index >= 0)


def test_every_result_in_the_files_is_tested():
    for path in sorted(GOLDEN.glob('*.npz')):
        with np.load(path) as golden:
            peers = {key.partition('.')[0] for key in golden} if 'in.loc' in golden else set()
        for peer, cases in (
            ('paddle', PADDLE_CASES),
            ('caffe', CAFFE_CASES),
            ('ssd_pytorch', SSD_PYTORCH_CASES),
            ('torchvision', TORCHVISION_CASES),
            ('mxnet', MXNET_CASES),
        ):
            assert (peer in peers) == (path.stem in cases), (peer, path.stem)
