"""The step schedule equals the one that ChainerCV's example builds of Chainer's extensions."""

import chainer
import numpy as np
import pytest
from chainer.training import extensions, triggers

from chainer_ssd.runtime import StepShift


def rates_of(extension, n_iteration, trigger=(1, 'iteration')):
    link = chainer.links.Linear(1, 1)
    optimizer = chainer.optimizers.SGD(lr=1e-3).setup(link)
    iterator = chainer.iterators.SerialIterator([np.ones(1, 'f')] * 4, 2)
    updater = chainer.training.StandardUpdater(
        iterator, optimizer, loss_func=lambda x: chainer.functions.sum(link(x))
    )
    trainer = chainer.training.Trainer(updater, (n_iteration, 'iteration'), '/nowhere')
    rates = []
    trainer.extend(
        lambda trainer: rates.append(optimizer.lr),
        name='record',
        trigger=(1, 'iteration'),
        priority=1000,  # the rate of this iteration, before it is changed
    )
    trainer.extend(extension, trigger=trigger)
    trainer.run()
    return rates


def test_it_is_the_schedule_of_chainercvs_example():
    steps = [4, 6]
    expected = rates_of(
        extensions.ExponentialShift('lr', 0.1, init=1e-3),
        8,
        triggers.ManualScheduleTrigger(steps, 'iteration'),
    )
    assert rates_of(StepShift('lr', 1e-3, steps), 8) == expected
    assert expected[3] == 1e-3 and expected[4] == pytest.approx(1e-4)


@pytest.mark.parametrize('steps', [[3, 3], [5, 2], [0], [-1]])
def test_wrong_steps(steps):
    with pytest.raises(ValueError, match='expected'):
        StepShift('lr', 1e-3, steps)


def test_wrong_arguments():
    with pytest.raises(TypeError, match='a step = 1.5'):
        StepShift('lr', 1e-3, [1.5])
    with pytest.raises(TypeError, match='attr = 3'):
        StepShift(3, 1e-3, [1])
    with pytest.raises(ValueError, match='gamma'):
        StepShift('lr', 1e-3, [1], gamma=-1)
