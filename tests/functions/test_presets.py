"""``MultiboxObjective.like`` gives the numbers of each library."""

import chainer
import numpy as np
import pytest

from chainer_ssd import encode, match
from chainer_ssd.functions import (
    AllNegatives,
    Batch,
    HardNegative,
    MatchesAfterMining,
    MultiboxObjective,
    Positives,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from chainer_ssd.ops import corner_to_center, swap_xy
from tests.functions import reference_parts
from tests.functions.test_multibox_loss import CHAINERCV_CASES
from tests.functions.test_peers_golden import (
    CAFFE_CASES,
    MXNET_CASES,
    PADDLE_CASES,
    RTOL,
    SSD_PYTORCH_CASES,
    TORCHVISION_CASES,
    TORCHVISION_COUNTS_TWICE,
    check_gradients,
    load,
    run_mining,
    split,
)
from tests.helpers import assert_close

CASES = [
    *(('chainercv', case) for case in CHAINERCV_CASES),
    # PaddlePaddle's ssd_loss raises for hard examples, and Caffe ranks them by both losses.
    *(('paddle', case) for case in PADDLE_CASES if not case.startswith('hard_example')),
    *(('caffe', case) for case in CAFFE_CASES if case != 'hard_example'),
    *(('ssd.pytorch', case) for case in SSD_PYTORCH_CASES),
    *(('torchvision', case) for case in TORCHVISION_CASES if case not in TORCHVISION_COUNTS_TWICE),
]
OPTIONS = {  # names of a library for the options of the cases
    'chainercv': {'neg_pos_ratio': 'k'},
    'paddle': {
        'neg_pos_ratio': 'neg_pos_ratio',
        'normalize': 'normalize',
        'loc_loss_weight': 'loc_loss_weight',
    },
    'caffe': {
        'neg_pos_ratio': 'neg_pos_ratio',
        'mining_type': 'mining_type',
        'sample_size': 'sample_size',
    },
    'ssd.pytorch': {'neg_pos_ratio': 'neg_pos'},
    'torchvision': {'neg_pos_ratio': 'neg_to_pos_ratio'},
}


def make_targets(peer, golden, options):
    """Return the targets as the library matches and encodes, y before x, background first."""
    if peer in ('paddle', 'caffe'):
        if peer == 'paddle':
            options = {**options, 'neg_overlap': None}
        elif options.get('mining_type') != 'hard_example':
            options = {'neg_overlap': 0.5, **options}
        targets = run_mining(golden, **options)[-1]
        return swap_xy(targets.mb_locs), targets.mb_labels
    default_bbox = corner_to_center(swap_xy(golden['in.prior']))
    found = []
    for bbox, label in zip(
        split(golden, swap_xy(golden['in.gt_box'])), split(golden, golden['in.gt_label'])
    ):
        thresh = options.get('overlap_threshold', 0.5)
        match_type = 'per_prediction' if peer == 'chainercv' else 'argmax'
        index = match(default_bbox, bbox, thresh, match_type)
        found.append(encode(default_bbox, bbox, label - 1, index, swap_xy(golden['in.prior_var'])))
    return map(np.stack, zip(*found))


@pytest.mark.parametrize('use_fused', ['auto', 'never'])
@pytest.mark.parametrize(('peer', 'case'), CASES)
def test_equals_the_library(peer, case, use_fused):
    golden, options = load(case)
    names = OPTIONS[peer]
    own = {names[name]: value for name, value in options.items() if name in names}
    objective = MultiboxObjective.like(peer, **own)
    gt_mb_locs, gt_mb_labels = make_targets(peer, golden, options)
    background = options.get('background_label', 0)
    mb_locs = chainer.Variable(swap_xy(golden['in.loc']))
    mb_confs = chainer.Variable(np.roll(golden['in.conf'], -background, axis=2))
    with chainer.using_config('use_fused_multibox', use_fused):
        loc_loss, conf_loss = objective(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)
    key = peer.replace('.', '_')
    if peer == 'paddle':  # one loss, weighted
        conf_loss = conf_loss * options.get('conf_loss_weight', 1)
        assert_close(float((loc_loss + conf_loss).array), golden['paddle.loss'].sum(), RTOL)
    else:
        if f'{key}.loc_loss' in golden and np.isfinite(golden[f'{key}.loc_loss']):
            assert_close(loc_loss, golden[f'{key}.loc_loss'], RTOL)
        assert_close(conf_loss, golden[f'{key}.conf_loss'], RTOL)
    (loc_loss + conf_loss).backward()
    if peer != 'caffe':  # its gradients were not recorded
        check_gradients(
            golden, key, swap_xy(mb_locs.grad), np.roll(mb_confs.grad, background, axis=2)
        )


@pytest.mark.parametrize('case', MXNET_CASES)
def test_equals_the_targets_of_mxnet(case):
    golden, options = load(case)
    own = {'negative_mining_ratio': options.get('neg_pos_ratio', 3.0)}
    targets = run_mining(golden, **{'neg_overlap': 0.5, **options})[-1]
    batch = make_batch(MultiboxObjective(), targets.mb_labels, golden['in.conf'])
    positive, negative = MultiboxObjective.like('mxnet', **own).mining(batch)
    found = np.where(positive, targets.mb_labels, np.where(negative, 0, -1))
    np.testing.assert_array_equal(found, golden['mxnet.cls_target'])


def test_the_smallest_number_of_negatives_of_mxnet():
    batch = make_batch(MultiboxObjective(), np.array([[1] + [0] * 9]))
    for minimum, expected in ((0, 3), (5, 5)):
        mining = MultiboxObjective.like('mxnet', minimum_negative_samples=minimum).mining
        assert mining(batch)[1].sum() == expected


def make_batch(objective, labels, mb_confs=None):
    rng = np.random.default_rng(0)
    mb_locs = rng.normal(size=(*labels.shape, 4))
    mb_confs = rng.normal(size=(*labels.shape, 3)) if mb_confs is None else mb_confs
    return Batch(
        chainer.Variable(mb_locs),
        chainer.Variable(mb_confs),
        mb_locs,
        labels,
        objective.localization,
        objective.confidence,
    )


# Inputs and results of TensorFlow's object_detection/core/losses_test.py.
def test_the_localization_loss_of_tensorflow():
    prediction = [
        [[2.5, 0, 0.4, 0], [0, 0, 0, 0], [0, 2.5, 0, 0.4]],
        [[3.5, 0, 0, 0], [0, 0.4, 0, 0.9], [0, 0, 1.5, 0]],
    ]
    weights = np.array([[2.0, 1, 1], [0, 3, 0]])
    mb_locs = np.array(prediction)
    objective = MultiboxObjective.like('tensorflow', normalize_loss_by_num_matches=False)
    labels, mb_confs = np.ones((2, 3), int), np.zeros((2, 3, 2))
    loc_loss, _ = objective(mb_locs, mb_confs, 0 * mb_locs, labels, box_weight=weights)
    np.testing.assert_allclose(loc_loss.array, 7.695, rtol=1e-12)


def test_the_sigmoid_loss_of_tensorflow():
    logits = [
        [[-100, 100, -100], [100, -100, -100], [100, 0, -100], [-100, -100, 100]],
        [[-100, 0, 100], [-100, 100, -100], [100, 100, 100], [0, 0, -1]],
    ]
    target = [
        [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 1, 1], [1, 0, 0]],
    ]
    weights = np.array([[1.0, 1, 1, 1], [1, 1, 1, 0]])
    logits, target = np.array(logits, 'd'), np.array(target, 'd')
    objective = MultiboxObjective.like('tensorflow', normalize_loss_by_num_matches=False)
    locs = np.zeros((2, 4, 4))
    _, conf_loss = objective(locs, logits, locs, target, box_weight=weights)
    np.testing.assert_allclose(conf_loss.array, -2 * np.log(0.5), rtol=1e-12)


# Inputs and results of test_ce_loss in MMDetection's tests.
@pytest.mark.parametrize(('class_weight', 'expected'), [(None, 200.0), ([0.8, 0.2], 40.0)])
def test_the_cross_entropy_of_mmdetection(class_weight, expected):
    loss = SoftmaxCrossEntropy(class_weight)(
        chainer.Variable(np.array([[100.0, -100.0]])), np.array([1])
    )
    np.testing.assert_allclose(loss.array, [expected], rtol=1e-12)


def test_the_divisor_of_mmdetection_counts_images_without_positives():
    labels = np.array([[1, 1, 0, 0, 0, 0, 0, 0], [0] * 8])
    objective = MultiboxObjective.like('mmdet')
    *_, divisor = objective.select(make_batch(objective, labels), None)
    assert divisor == 3


def gluoncv_losses(mb_locs, mb_confs, gt_mb_locs, labels, ratio, rho, lambd, minimum):
    """The definition of GluonCV's SSDMultiBoxLoss as loops. GluonCV itself was not run.

    Its source (gluoncv/loss.py) gives: the hard negatives of an image are the boxes of a rank below
    max(minimum, ratio · positives), both sums are divided by max(1, positives of the batch), and
    without positives and a minimum the loss is 0.
    """
    n_positive = sum(label > 0 for row in labels for label in row)
    if n_positive < 1 and minimum < 1:
        return 0.0, 0.0
    loc_loss = conf_loss = 0.0
    for locs, confs, gt_locs, row in zip(mb_locs, mb_confs, gt_mb_locs, labels):
        loss = [-reference_parts.log_softmax(x)[label] for x, label in zip(confs, row)]
        n_hard = max(minimum, ratio * sum(label > 0 for label in row))
        negatives = sorted((k for k in range(len(row)) if row[k] == 0), key=lambda k: -loss[k])
        hard = {k for rank, k in enumerate(negatives) if rank < n_hard}
        for k, label in enumerate(row):
            if label > 0 or k in hard:
                conf_loss += loss[k]
            if label > 0:
                for a, b in zip(locs[k], gt_locs[k]):
                    d = abs(a - b)
                    loc_loss += d - 0.5 * rho if d > rho else 0.5 / rho * d * d
    n = max(1.0, n_positive)
    return lambd * loc_loss / n, conf_loss / n


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'negative_mining_ratio': 1.5, 'rho': 0.5, 'lambd': 2.0},
        {'min_hard_negatives': 5},
        {'negative_mining_ratio': 50},
    ],
)
@pytest.mark.parametrize('labels', [[[1, 2, 0, 0, 0, 0, 0, 0], [0] * 7 + [1]], [[0] * 8] * 2])
def test_equals_the_published_definition_of_gluoncv(options, labels):
    rng = np.random.default_rng(8)
    mb_locs, gt_mb_locs = rng.normal(size=(2, 2, 8, 4))
    mb_confs = rng.normal(scale=2, size=(2, 8, 3))
    losses = MultiboxObjective.like('gluoncv', **options)(
        mb_locs, mb_confs, gt_mb_locs, np.array(labels)
    )
    values = {'negative_mining_ratio': 3, 'rho': 1, 'lambd': 1, 'min_hard_negatives': 0, **options}
    expected = gluoncv_losses(
        mb_locs.tolist(), mb_confs.tolist(), gt_mb_locs.tolist(), labels, *values.values()
    )
    for loss, value in zip(losses, expected):
        np.testing.assert_allclose(loss.array, value, rtol=1e-12)


def test_the_parts_of_some_libraries():
    caffe = MultiboxObjective.like(
        'caffe', loc_loss_type='l2', conf_loss_type='logistic', mining_type='none'
    )
    assert isinstance(caffe.confidence, SigmoidCrossEntropy)
    assert isinstance(caffe.mining, AllNegatives)
    assert isinstance(caffe.normalizer, MatchesAfterMining)
    mmdet = MultiboxObjective.like('mmdet', smoothl1_beta=0.5)
    assert isinstance(mmdet.localization, SmoothL1) and mmdet.localization.beta == 0.5
    tensorflow = MultiboxObjective.like('tensorflow', classification_loss='weighted_softmax')
    assert isinstance(tensorflow.normalizer, Positives) and tensorflow.normalizer.minimum == 1
    assert isinstance(MultiboxObjective.like('chainercv', k=2).mining, HardNegative)


@pytest.mark.parametrize(
    ('peer', 'options', 'error', 'message'),
    [
        ('keras', {}, ValueError, "peer = 'keras': expected one of"),
        (
            'chainercv',
            {'minimum': 1},
            TypeError,
            "chainercv has no option 'minimum'.*expected one of k$",
        ),
        ('paddle', {'mining_type': 'hard_example'}, ValueError, 'PaddlePaddle.*raises for it'),
        ('caffe', {'share_location': False}, ValueError, 'share_location = False: Caffe'),
        ('paddle', {'box_normalized': False}, ValueError, 'box_normalized = False: Paddle'),
        ('tensorflow', {'hard_example_miner': {}}, ValueError, 'suppresses boxes'),
        ('caffe', {'mining_type': 'ohem'}, ValueError, "mining_type = 'ohem'"),
        ('mmdet', {'neg_pos_ratio': 1.5}, TypeError, 'neg_pos_ratio = 1.5'),
    ],
)
def test_what_a_library_cannot_do_is_refused(peer, options, error, message):
    with pytest.raises(error, match=message):
        MultiboxObjective.like(peer, **options)
