"""Trainer extension that measures the parts of an iteration."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import chainer
from chainer.training import Extension, Trainer

from chainer_ssd._options import check_flag

_NAME = 'TimeReport'
_PARTS = 'data', 'forward', 'loss', 'backward', 'allreduce', 'update', 'extensions'


class TimeReport(Extension):
    """Trainer extension that reports how long each part of an iteration takes, in seconds.

    The names are ``main/time/data`` and so on. A log has their means.

    - ``data``: until the optimizer's target is called. The iterator returns the examples, the
      converter makes the batch and sends it to the device. If it is long, use more data workers.
    - ``forward``: the links that the target holds (the model).
    - ``loss``: the rest of the target's call.
    - ``backward``: until the gradients of the last function are computed.
    - ``allreduce``: from there until the optimizer's hooks begin. Only ChainerMN's optimizer has
      it: it averages the gradients and blocks until slower ranks arrive. Earlier communication
      (the positive count, ``MultiNodeBatchNormalization``) belongs to the part that contains it.
    - ``update``: the optimizer's hooks and update rules.
    - ``extensions``: all extensions after the previous iteration, such as evaluation, logs and
      snapshots.

    The parts add up to the whole iteration. ``TimeReport`` does not run anything twice, and it
    does not synchronize. On a GPU, a part includes the launch of its kernels only. The first step
    that blocks until the device is ready (a copy to the host, a full queue) includes the time of
    all queued work. The sum is right in both cases.

    Parameters
    ----------
    synchronize : bool
        Whether to synchronize with the GPU at the end of each part, and in the backward pass at
        the end of each function. Default: False. True gives the true time of each part, but the
        iteration becomes slower. Use it for a few iterations. It changes nothing on a CPU.

    Raises
    ------
    TypeError
        If ``synchronize`` is neither True nor False.

    Notes
    -----
    :class:`chainer.function_hooks.TimerHook` measures each function. It measures neither the data,
    nor the update, nor the communication. It also synchronizes with the GPU after each function,
    so it slows down the training that it measures.

    The parts begin and end in hooks of the target, of its children, of the optimizer and of the
    functions of the backward pass. The optimizer calls its hooks in the order in which they were
    added. With ChainerMN, hooks added before the trainer runs count as ``allreduce``.
    """

    trigger = 1, 'iteration'
    priority = -1000  # after all other extensions: the next iteration begins here

    def __init__(self, synchronize: bool = False) -> None:
        self.synchronize = check_flag('synchronize', synchronize)

    def initialize(self, trainer: Trainer) -> None:
        """Add the hooks when the trainer begins.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this method.
        """
        self._optimizer = optimizer = trainer.updater.get_optimizer('main')
        target = optimizer.target
        is_on_gpu = target.xp is chainer.backends.cuda.cupy
        is_multi_node = hasattr(optimizer, 'communicator')
        parts = [part for part in _PARTS if is_multi_node or part != 'allreduce']
        self._stopwatch = stopwatch = _Stopwatch(parts, self.synchronize and is_on_gpu)
        self._links = [target, *target.children()]
        for link in self._links:
            link.add_hook(_LinkHook(stopwatch, link is target), _NAME)
        self._function_hook = _FunctionHook(stopwatch)
        self._function_hook.__enter__()
        part_before_hooks = 'allreduce' if is_multi_node else 'update'
        optimizer.add_hook(lambda _: stopwatch.end_part(part_before_hooks), f'{_NAME} pre', 'pre')
        optimizer.add_hook(self._report, f'{_NAME} post', 'post')

    def __call__(self, trainer: Trainer) -> None:
        """End the part ``extensions``.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this extension last.
        """
        self._stopwatch.end_part('extensions')

    def finalize(self) -> None:
        """Remove the hooks when the trainer ends."""
        for link in self._links:
            link.delete_hook(_NAME)
        self._function_hook.__exit__()
        for timing in ('pre', 'post'):
            self._optimizer.remove_hook(f'{_NAME} {timing}')

    def _report(self, optimizer: Any) -> None:
        stopwatch = self._stopwatch
        stopwatch.end_part('update')
        chainer.report(
            {f'time/{part}': seconds for part, seconds in stopwatch.seconds.items()},
            optimizer.target,
        )
        stopwatch.seconds = dict.fromkeys(stopwatch.seconds, 0.0)


class _Stopwatch:
    """Seconds of each part of an iteration."""

    def __init__(self, parts: Iterable[str], synchronize: bool) -> None:
        self.seconds = dict.fromkeys(parts, 0.0)
        self.synchronize = synchronize
        self.is_in_target = False
        self._last_end = time.perf_counter()

    def end_part(self, part: str) -> None:
        """Add the time since the last end to a part."""
        if self.synchronize:
            chainer.backends.cuda.Stream.null.synchronize()
        now = time.perf_counter()
        self.seconds[part] += now - self._last_end
        self._last_end = now


class _LinkHook(chainer.LinkHook):
    """Hook on the target or on one of its children.

    An evaluator calls a child outside of the target, or the target in test mode. Neither call is
    a part of the training's forward pass.
    """

    def __init__(self, stopwatch: _Stopwatch, is_target: bool) -> None:
        self.stopwatch, self.is_target = stopwatch, is_target

    def forward_preprocess(self, args: Any) -> None:
        if self.stopwatch.is_in_target:
            self.stopwatch.end_part('loss')
        elif self.is_target and chainer.config.train:
            self.stopwatch.end_part('data')
            self.stopwatch.is_in_target = True

    def forward_postprocess(self, args: Any) -> None:
        if self.stopwatch.is_in_target:
            self.stopwatch.end_part('loss' if self.is_target else 'forward')
        self.stopwatch.is_in_target &= not self.is_target


class _FunctionHook(chainer.FunctionHook):
    name = _NAME

    def __init__(self, stopwatch: _Stopwatch) -> None:
        self.stopwatch = stopwatch

    def backward_postprocess(self, function: Any, in_data: Any, out_grad: Any) -> None:
        self.stopwatch.end_part('backward')
