"""Ctrl-C during a training."""

import os
import signal

import chainer
import numpy as np
import pytest

from chainer_ssd.runtime import interruptible


@pytest.fixture
def trainer(tmp_path):
    model = chainer.Chain()
    with model.init_scope():
        model.linear = chainer.links.Linear(1, 1)
    model.forward = lambda x: chainer.functions.sum(model.linear(x))
    optimizer = chainer.optimizers.SGD().setup(model)
    iterator = chainer.iterators.SerialIterator(np.ones((4, 1), 'f'), 2)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    return chainer.training.Trainer(updater, (5, 'iteration'), tmp_path)


def press_at(trainer, iteration, press):
    def extension(trainer):
        if trainer.updater.iteration == iteration:
            press()

    trainer.extend(extension, trigger=(1, 'iteration'), name='press', priority=1000)


def run(trainer):
    trainer.run(show_loop_exception_msg=False)


def test_the_message_names_the_iteration_and_has_the_hint(trainer):
    press_at(trainer, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match='^interrupted after iteration 3; try again$'):
        with interruptible(trainer, lambda: 'try again'):
            run(trainer)


def test_the_iteration_ends_first(trainer):
    """Inside the updater, an exception could break the locks of an iterator with threads."""
    update, n_update = trainer.updater.update_core, []

    def press_and_update():
        if trainer.updater.iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)
        update()
        n_update.append(trainer.updater.iteration)

    trainer.updater.update_core = press_and_update
    with pytest.raises(KeyboardInterrupt, match='^interrupted after iteration 2$'):
        with interruptible(trainer):
            run(trainer)
    assert len(n_update) == 2


def test_a_second_ctrl_c_ends_at_once(trainer):
    def press():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail('the second Ctrl-C did not raise')

    press_at(trainer, 2, press)
    with pytest.raises(KeyboardInterrupt, match='^interrupted after iteration 2$'):
        with interruptible(trainer):
            run(trainer)


def test_a_run_without_ctrl_c_ends_and_the_handler_is_restored(trainer):
    before = signal.getsignal(signal.SIGINT)
    with interruptible(trainer):
        assert signal.getsignal(signal.SIGINT) is not before
        run(trainer)
    assert trainer.updater.iteration == 5
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_signal_stays_ignored(trainer):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        press_at(trainer, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        with interruptible(trainer):
            run(trainer)
        assert trainer.updater.iteration == 5
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
