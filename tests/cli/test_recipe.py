"""The recipes of chainer-ssd train: the optimizers' first steps, computed by hand."""

import chainer
import numpy as np
import pytest

from chainer_ssd.cli._recipe import create_optimizer, create_schedule, get_recipe


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
    create_optimizer(name, chain).update()
    rate = get_recipe(name, 'voc').peak_rate
    assert chain.linear.W.array[0, 0] == pytest.approx(2 - rate * (0.5 + 5e-4 * 2), abs=1e-6)
    assert chain.linear.b.array[0] == pytest.approx(2 - rate * 2 * 0.5, abs=1e-6)


def test_a_step_without_gradients_is_no_error():
    chain = chain_of(0.5)
    chain.cleargrads()
    create_optimizer('ssd300', chain).update()
    assert np.isfinite(chain.linear.W.array).all()


def test_gradients_that_are_not_finite_are_an_error():
    with pytest.raises(FloatingPointError, match='NaN or inf'):
        create_optimizer('ssd_mini', chain_of(np.nan)).update()


def test_the_learning_rate_rises_for_a_tenth_of_the_training():
    for name, dataset, rate in (('ssd_mini', 'voc', 'eta'), ('ssd300', 'shapes', 'lr')):
        shift = create_schedule(get_recipe(name, dataset), 100)
        assert (shift.attr, shift.total, shift.warmup) == (rate, 100, 10)
