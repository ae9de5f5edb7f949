"""examples/recipe.py: the optimizers' first steps, by hand."""

import chainer
import numpy as np
import pytest

from tests.cli import detector_folder  # noqa: F401  (examples can be imported)


def chain_of(gradient):
    chain = chainer.Chain()
    with chain.init_scope():
        chain.linear = chainer.links.Linear(1, 1, initialW=2, initial_bias=2)
    chain.cleargrads()
    for param in chain.params():
        param.grad = np.full_like(param.array, gradient)
    return chain


@pytest.mark.parametrize('name', ['ssd300', 'ssd512'])
def test_the_paper_doubles_the_gradients_of_biases_and_decays_the_rest(name):
    from recipe import create_optimizer, recipe_of

    chain = chain_of(0.5)
    create_optimizer(name, chain).update()
    rate = recipe_of(name, 'voc').peak
    assert chain.linear.W.array[0, 0] == pytest.approx(2 - rate * (0.5 + 5e-4 * 2), abs=1e-6)
    assert chain.linear.b.array[0] == pytest.approx(2 - rate * 2 * 0.5, abs=1e-6)


def test_a_step_without_gradients_is_no_error():
    from recipe import create_optimizer

    chain = chain_of(0.5)
    chain.cleargrads()
    create_optimizer('ssd300', chain).update()
    assert np.isfinite(chain.linear.W.array).all()


def test_gradients_that_are_not_finite_are_told():
    from recipe import create_optimizer

    with pytest.raises(FloatingPointError, match='NaN or inf'):
        create_optimizer('ssd_mini', chain_of(np.nan)).update()


def test_the_rate_rises_for_a_tenth_and_falls_to_nothing(tmp_path):
    from recipe import recipe_of, schedule

    for name, dataset, rate in (('ssd_mini', 'voc', 'eta'), ('ssd300', 'shapes', 'lr')):
        shift = schedule(recipe_of(name, dataset), 100)
        assert (shift.attr, shift.total, shift.warmup) == (rate, 100, 10)
