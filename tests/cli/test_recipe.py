"""The recipes of chainer-ssd train: the optimizers' first steps, computed by hand."""

import argparse

import chainer
import numpy as np
import pytest

from chainer_ssd.cli._recipe import create_optimizer, create_schedule, get_recipe
from chainer_ssd.runtime import StepShift


def chain_of(gradient):
    chain = chainer.Chain()
    with chain.init_scope():
        chain.linear = chainer.links.Linear(1, 1, initialW=2, initial_bias=2)
    chain.cleargrads()
    for param in chain.params():
        param.grad = np.full_like(param.array, gradient)
    return chain


@pytest.mark.parametrize('name', ['ssd300', 'ssd512'])
def test_gradients_of_biases_are_doubled_and_other_weights_decay(name):
    chain = chain_of(0.5)
    create_optimizer(name, chain, 9).update()
    rate = get_recipe(name, 'voc').peak_rate
    assert chain.linear.W.array[0, 0] == pytest.approx(2 - rate * (0.5 + 5e-4 * 2), abs=1e-6)
    assert chain.linear.b.array[0] == pytest.approx(2 - rate * 2 * 0.5, abs=1e-6)


def test_a_step_without_gradients_is_no_error():
    chain = chain_of(0.5)
    chain.cleargrads()
    create_optimizer('ssd300', chain, 9).update()
    assert np.isfinite(chain.linear.W.array).all()


def test_gradients_that_are_not_finite_are_an_error():
    with pytest.raises(FloatingPointError, match='NaN or inf'):
        create_optimizer('ssd_mini', chain_of(np.nan), 9).update()


@pytest.mark.parametrize(
    ('iteration', 'decay'), [(1, 2e-3), (1643, 2e-3), (3300, 1e-3), (33_000, 1e-4)]
)
def test_the_weights_of_ssd_mini_decay_less_in_longer_trainings(iteration, decay):
    chain = chain_of(0.5)
    create_optimizer('ssd_mini', chain, iteration).update()
    # Adam's first step is the learning rate, whatever the gradient.
    for param in chain.params():
        assert param.array.ravel()[0] == pytest.approx(2 - 0.016 - decay * 2, abs=1e-6)


def schedule_of(model, iteration, **options):
    args = {'model': model, 'dataset': 'voc', 'lr': None, 'lr_steps': None}
    args['schedule'] = get_recipe(model, 'voc').schedule
    return create_schedule(argparse.Namespace(**{**args, **options}), iteration)


def test_the_rate_of_ssd_mini_rises_for_a_tenth_of_the_training():
    shift = schedule_of('ssd_mini', 100, lr=0.5)
    assert (shift.attr, shift.init, shift.total, shift.warmup) == ('eta', 1, 100, 10)
    optimizer = create_optimizer('ssd_mini', chain_of(0.5), 100, lr=0.5)
    assert optimizer.alpha == 0.5  # the schedule is a factor on it


@pytest.mark.parametrize('name', ['ssd300', 'ssd512'])
def test_the_papers_models_have_the_papers_schedule(name):
    shift = schedule_of(name, 120_000)
    assert isinstance(shift, StepShift)
    assert (shift.attr, shift.init, shift.gamma) == ('lr', 1e-3, 0.1)
    assert shift.steps == (80_000, 100_000)
    assert schedule_of(name, 12, lr=0.5).steps == (8, 10)
    assert schedule_of(name, 1).steps == (1,)
    assert schedule_of(name, 9, lr_steps='3,5').steps == (3, 5)
    cosine = schedule_of(name, 100, schedule='cosine', lr=0.5)
    assert (cosine.attr, cosine.init, cosine.warmup) == ('lr', 0.5, 10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'lr_steps': '5,3'}, '--lr-steps 5,3: expected iterations in ascending order'),
        ({'lr_steps': 'x'}, '--lr-steps x: expected'),
        ({'lr_steps': '5', 'schedule': 'cosine'}, '--lr-steps 5 goes with --schedule step'),
    ],
)
def test_wrong_steps(options, message):
    with pytest.raises(ValueError, match=message):
        schedule_of('ssd300', 9, **options)
