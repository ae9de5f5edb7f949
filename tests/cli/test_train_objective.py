"""chainer-ssd train: the options of the objective, and the parts that they choose."""

import argparse

import chainer
import numpy as np
import pytest

from chainer_ssd.cli._objective import create_objective
from chainer_ssd.cli._objective_arguments import (
    IOU_KINDS,
    NORMALIZERS,
    OBJECTIVE_OPTIONS,
    add_objective_arguments,
    fill_in_objective,
    read_objective,
)
from chainer_ssd.cli._recipe import create_chain
from chainer_ssd.datasets import ShapesBboxDataset
from chainer_ssd.functions import (
    L2,
    AllNegatives,
    FocalLoss,
    HardExample,
    HardNegative,
    IoULoss,
    MatchesAfterMining,
    Positives,
    RandomNegative,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from chainer_ssd.links import MultiboxTrainChain, SSDMini
from chainer_ssd.transforms import EncodeTransform, MatchTransform, ResizeTransform
from tests.cli.command import COMMAND

MODEL = SSDMini(2, 32)


def parse(*options):
    parser = argparse.ArgumentParser()
    add_objective_arguments(parser)
    args = parser.parse_args(options)
    fill_in_objective(args)
    return args


def objective_of(*options):
    return create_objective(parse(*options), MODEL)


def test_the_default_is_the_paper():
    objective = objective_of()
    for part, kind in (
        (objective.localization, SmoothL1),
        (objective.confidence, SoftmaxCrossEntropy),
        (objective.mining, HardNegative),
        (objective.normalizer, Positives),
    ):
        assert type(part) is kind and repr(part) == repr(kind())
    assert parse().alpha == 1 and parse().k == 3


def test_each_option_reaches_its_part():
    assert objective_of('--smooth-l1-beta', '0.5').localization.beta == 0.5
    assert isinstance(objective_of('--localization', 'l2').localization, L2)
    for kind in IOU_KINDS:
        loss = objective_of('--localization', kind).localization
        assert isinstance(loss, IoULoss) and loss.kind == kind
        np.testing.assert_array_equal(loss.default_bbox, MODEL.coder.default_bbox)
    softmax = objective_of('--class-weight', '0.5,1,2', '--label-smoothing', '0.1').confidence
    assert softmax.class_weight == [0.5, 1, 2] and softmax.label_smoothing == 0.1
    assert objective_of('--class-weight', '0.5,2').confidence.class_weight == [0.5, 2, 2]
    focal = objective_of('--confidence', 'focal', '--focal-gamma', '1', '--focal-alpha', '0.5')
    assert isinstance(focal.confidence, FocalLoss) and isinstance(focal.mining, AllNegatives)
    assert (focal.confidence.gamma, focal.confidence.alpha) == (1, 0.5)
    sigmoid = objective_of('--confidence', 'sigmoid')
    assert isinstance(sigmoid.confidence, SigmoidCrossEntropy)
    assert sigmoid.mining.by == 'own class' and objective_of().mining.by == 'background'
    hard = objective_of('--k', '2', '--min-negatives', '4').mining
    assert (hard.k, hard.minimum) == (2, 4)
    example = objective_of('--mining', 'hard_example', '--sample-size', '9')
    assert isinstance(example.mining, HardExample) and example.mining.sample_size == 9
    assert example.mining.with_localization and isinstance(example.normalizer, MatchesAfterMining)
    random = objective_of('--mining', 'random', '--k', '2').mining
    assert isinstance(random, RandomNegative) and random.k == 2
    assert isinstance(objective_of('--mining', 'none').mining, AllNegatives)
    for name in NORMALIZERS:
        part = objective_of('--normalizer', name).normalizer
        assert type(part).__name__.lower() == name.replace('_', '')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--smooth-l1-beta', '2', '--localization', 'giou'], '--localization smooth_l1'),
        (['--class-weight', '1,2', '--confidence', 'sigmoid'], '--class-weight 1,2 goes with'),
        (['--label-smoothing', '0.1', '--confidence', 'focal'], '--confidence softmax'),
        (['--focal-gamma', '1'], '--focal-gamma 1 goes with --confidence focal'),
        (['--focal-alpha', '0.5'], '--focal-alpha 0.5 goes with --confidence focal'),
        (['--k', '1', '--mining', 'none'], '--k 1 goes with --mining hard_negative or random'),
        (['--min-negatives', '3', '--mining', 'random'], '--mining hard_negative'),
        (['--sample-size', '9'], '--sample-size 9 goes with --mining hard_example'),
        (
            ['--confidence', 'focal', '--mining', 'random'],
            '--mining random does not go with --confidence focal.*expected --mining none',
        ),
        (
            ['--loss', 'ssd_loss', '--localization', 'l2'],
            '--localization l2 goes with --loss multibox_loss',
        ),
        (['--loss', 'ssd_loss', '--alpha', '2'], '--alpha 2 goes with --loss multibox_loss'),
        (['--class-weight', '1,2,3,4'], '--class-weight 1,2,3,4: expected 3 numbers'),
    ],
)
def test_options_without_effect_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        objective_of(*options)


@pytest.mark.parametrize('value', ['1,-1', '1,', 'x', '1,nan'])
def test_wrong_weights_are_named(value, capsys):
    with pytest.raises(SystemExit):
        parse('--class-weight', value)
    assert 'argument --class-weight: ' in capsys.readouterr().err


def test_ssd_loss_has_k_alone():
    args = parse('--loss', 'ssd_loss')
    assert args.k == 3 and parse('--loss', 'ssd_loss', '--k', '1').k == 1
    assert all(getattr(args, name) is None for name in OBJECTIVE_OPTIONS[1:] if name != 'k')


def test_the_objective_of_an_earlier_version_is_known():
    assert read_objective({'loss': 'multibox_loss', 'k': 2.0}) == {
        name: getattr(parse('--k', '2'), name) for name in OBJECTIVE_OPTIONS
    }


COMBINATIONS = [
    ['--localization', localization, '--confidence', confidence, '--mining', mining]
    for localization in ('smooth_l1', 'l2', *IOU_KINDS)
    for confidence in ('softmax', 'sigmoid', 'focal')
    for mining in ('hard_negative', 'hard_example', 'random', 'none')
    if confidence != 'focal' or mining == 'none'
]


@pytest.fixture(scope='module')
def shapes():
    """A batch of drawn shapes with the targets of a small model."""
    coder = SSDMini(3, 32).coder
    match, encode = MatchTransform(coder.default_bbox), EncodeTransform(coder.default_bbox)
    resize = ResizeTransform(32)
    dataset = ShapesBboxDataset(2, 32, max_objects=2)
    return chainer.dataset.concat_examples([encode(match(resize(dataset[i]))) for i in range(2)])


@pytest.mark.parametrize('options', COMBINATIONS, ids=lambda options: ' '.join(options[1::2]))
def test_each_combination_trains_on_shapes(options, shapes):
    np.random.seed(0)
    model = SSDMini(3, 32)
    args = parse(*options)
    chain = MultiboxTrainChain(model, args.alpha, objective=create_objective(args, model))
    optimizer = chainer.optimizers.Adam(alpha=0.003)
    optimizer.setup(chain)
    losses = []
    for _ in range(4):
        np.random.seed(1)  # the same random negatives
        loss = chain(*shapes)
        chain.cleargrads()
        loss.backward()
        optimizer.update()
        losses.append(float(loss.array))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_alpha_weights_the_localization_loss():
    chain, _ = create_chain(MODEL, parse('--alpha', '0.5'))
    assert chain.alpha == 0.5 and chain.objective.alpha == 1


@pytest.mark.mpi
def test_own_parts_train_over_two_ranks(mpiexec, voc_root, tmp_path):
    # The divisor of hard examples depends on the predictions.
    options = ('--dataset', 'voc', '--root', voc_root, '--insize', 32, '--batchsize', 1)
    options += ('--communicator', 'naive', '--iteration', 2, '--workers', 0)
    options += ('--localization', 'ciou', '--mining', 'hard_example')
    mpiexec(2, *COMMAND, 'train', *options, '--out', tmp_path / 'out')
    assert (tmp_path / 'out' / 'result.json').exists()
