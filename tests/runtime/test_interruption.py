"""Ctrl-C, SIGTERM and SIGUSR1 during a training."""

import functools
import os
import signal
import threading
import time

import chainer
import numpy as np
import pytest

from chainer_ssd.runtime import (
    Snapshot,
    TrainingInterrupted,
    interruptible,
    interruption,
    newest_snapshot,
)
from tests.distributed.threads import run_ranks


def make_trainer(folder):
    model = chainer.Chain()
    with model.init_scope():
        model.linear = chainer.links.Linear(1, 1)
    model.forward = lambda x: chainer.functions.sum(model.linear(x))
    optimizer = chainer.optimizers.SGD().setup(model)
    iterator = chainer.iterators.SerialIterator(np.ones((4, 1), 'f'), 2)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    return chainer.training.Trainer(updater, (5, 'iteration'), folder)


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(tmp_path)


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


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_one_request_that_arrives_twice_is_not_a_second_signal(trainer, number, tmp_path):
    def press():
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        os.kill(os.getpid(), number)

    press_at(trainer, 2, press)
    with pytest.raises(TrainingInterrupted, match='after iteration 2$'):
        with interruptible(trainer, snapshot=Snapshot(tmp_path)):
            run(trainer)
    assert newest_snapshot(tmp_path) == 2


def test_a_second_signal_ends_at_once(trainer, monkeypatch):
    monkeypatch.setattr(interruption, '_REPEAT_SECONDS', 0.1)

    def press():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail('the second signal did not raise')

    press_at(trainer, 2, press)
    with pytest.raises(TrainingInterrupted, match='^terminated after iteration 2$') as caught:
        with interruptible(trainer):
            run(trainer)
    assert not caught.value.is_agreed


def test_a_run_without_ctrl_c_ends_and_the_handler_is_restored(trainer):
    before = signal.getsignal(signal.SIGINT)
    with interruptible(trainer):
        assert signal.getsignal(signal.SIGINT) is not before
        run(trainer)
    assert trainer.updater.iteration == 5
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ('number', 'word', 'status'),
    [
        (signal.SIGINT, 'interrupted', 130),
        (signal.SIGTERM, 'terminated', 143),
        (signal.SIGUSR1, 'stopped by SIGUSR1', 138),
    ],
)
def test_one_more_snapshot_is_saved_before_the_end(trainer, tmp_path, number, word, status):
    press_at(trainer, 3, lambda: os.kill(os.getpid(), number))
    with pytest.raises(TrainingInterrupted, match=f'^{word} after iteration 3$') as caught:
        with interruptible(trainer, snapshot=Snapshot(tmp_path)):
            run(trainer)
    assert caught.value.exit_status == status
    assert newest_snapshot(tmp_path) == 3
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_the_last_snapshot_has_the_state_of_all_extensions(trainer, tmp_path):
    class Counter(chainer.training.Extension):
        trigger, n_call, priority = (1, 'iteration'), 0, -90

        def __call__(self, trainer):
            self.n_call += 1

        def serialize(self, serializer):
            self.n_call = int(serializer('n_call', self.n_call))

    trainer.extend(Counter())
    press_at(trainer, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        with interruptible(trainer, snapshot=Snapshot(tmp_path)):
            run(trainer)
    trainer.get_extension('Counter').n_call = 0
    assert Snapshot(tmp_path).resume(trainer) == 2
    assert trainer.get_extension('Counter').n_call == 2


def test_a_snapshot_that_fails_is_in_the_message(trainer, tmp_path):
    (tmp_path / 'file').write_text('')
    press_at(trainer, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    message = '^interrupted after iteration 2; no snapshot was saved: RuntimeError: .*; try again$'
    with pytest.raises(KeyboardInterrupt, match=message):
        with interruptible(trainer, lambda: 'try again', Snapshot(tmp_path / 'file')):
            run(trainer)


def test_a_forked_process_ends_on_sigterm_and_ignores_ctrl_c(trainer):
    with interruptible(trainer):
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize(
    ('signals', 'word', 'status'),
    [
        ({1: [(2, signal.SIGTERM)]}, 'terminated', 143),
        ({0: [(2, signal.SIGUSR1)]}, 'stopped by SIGUSR1', 138),
        ({0: [(2, signal.SIGTERM)], 1: [(2, signal.SIGTERM)]}, 'terminated', 143),
        ({0: [(2, signal.SIGUSR1)], 1: [(3, signal.SIGTERM)]}, 'stopped by SIGUSR1', 138),
        ({0: [(2, signal.SIGINT)], 1: [(2, signal.SIGUSR1)]}, 'stopped by SIGUSR1', 138),
    ],
)
def test_a_signal_on_one_rank_ends_all_ranks_after_the_same_iteration(
    tmp_path, monkeypatch, signals, word, status
):
    """Only the main thread has signals, so a rank's handler is called directly."""
    handlers = {}
    monkeypatch.setattr(
        signal,
        'signal',
        lambda number, handler: handlers.setdefault((threading.get_ident(), number), handler),
    )
    monkeypatch.setattr(signal, 'getsignal', lambda number: signal.SIG_DFL)

    def train(comm):
        trainer = make_trainer(tmp_path)
        press = signals.get(comm.rank, ())
        for iteration, number in press:
            handler = (threading.get_ident(), number)
            press_at(trainer, iteration, functools.partial(call_handler, handlers, handler))
        try:
            with interruptible(trainer, snapshot=Snapshot(tmp_path, comm), comm=comm):
                run(trainer)
        except TrainingInterrupted as error:
            return str(error), error.exit_status, error.is_agreed
        return 'ended'

    assert run_ranks(2, train) == [(f'{word} after iteration 3', status, True)] * 2
    assert newest_snapshot(tmp_path) == 3


def call_handler(handlers, key):
    handlers[key](key[1], None)


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
