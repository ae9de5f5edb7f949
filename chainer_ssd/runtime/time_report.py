"""Trainer extension that measures the parts of an iteration."""

from __future__ import annotations

import time
from collections import deque
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
    does not synchronize. On a GPU, CUDA events mark the ends of the parts in the current stream. A
    part then lasts from the end of the previous part's work on the device to the end of its own.
    Time in which the device has nothing to do belongs to the part whose work it waits for. The
    times of an iteration are reported when the device has finished it, which is one or more
    iterations later. The first reports may therefore have no times.

    Parameters
    ----------
    synchronize : bool
        Whether to synchronize with the GPU at the end of each part, and in the backward pass at
        the end of each function, and to measure on the host. Default: False. True shows the work
        of host and device one after the other, but the iteration becomes slower. Use it for a few
        iterations. It changes nothing on a CPU.

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
        stopwatch: _Stopwatch | _EventStopwatch
        if is_on_gpu and not self.synchronize:
            stopwatch = _EventStopwatch(parts, chainer.backends.cuda.cupy.cuda)
        else:
            stopwatch = _Stopwatch(parts, is_on_gpu)
        self._stopwatch = stopwatch
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
        self._stopwatch.end_part('update')
        seconds = self._stopwatch.take_seconds()
        chainer.report({f'time/{part}': each for part, each in seconds.items()}, optimizer.target)


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

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds of each part since the last call."""
        seconds, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return seconds


class _EventStopwatch:
    """Seconds of each part of an iteration on a GPU, from events in its stream.

    Parameters
    ----------
    parts : iterable of str
        Names of the parts.
    cuda : module
        ``cupy.cuda``.
    """

    def __init__(self, parts: Iterable[str], cuda: Any) -> None:
        self._parts, self._cuda = [*parts], cuda
        self.is_in_target = False
        first = cuda.Event()
        first.record()
        # Of each iteration: the part that an event ends, and the event.
        self._ends: list[tuple[str, Any]] = [('', first)]
        self._iterations: deque[list[tuple[str, Any]]] = deque()

    def end_part(self, part: str) -> None:
        """Record the end of a part, or move it."""
        if self._ends[-1][0] != part:
            self._ends.append((part, self._cuda.Event()))
        self._ends[-1][1].record()

    def take_seconds(self) -> dict[str, float]:
        """Return the mean seconds of each part in iterations that the device has finished since.

        Empty if there is none.
        """
        self._iterations.append(self._ends)
        self._ends = [('', self._ends[-1][1])]
        n_finished = 0
        seconds = dict.fromkeys(self._parts, 0.0)
        while self._iterations and self._iterations[0][-1][1].done:
            ends = self._iterations.popleft()
            for (_, start), (part, end) in zip(ends, ends[1:]):
                seconds[part] += self._cuda.get_elapsed_time(start, end) / 1000  # milliseconds
            n_finished += 1
        return {part: each / n_finished for part, each in seconds.items() if n_finished}


class _LinkHook(chainer.LinkHook):
    """Hook on the target or on one of its children.

    An evaluator calls a child outside of the target, or the target in test mode. Neither call is
    a part of the training's forward pass.
    """

    def __init__(self, stopwatch: _Stopwatch | _EventStopwatch, is_target: bool) -> None:
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

    def __init__(self, stopwatch: _Stopwatch | _EventStopwatch) -> None:
        self.stopwatch = stopwatch

    def backward_postprocess(self, function: Any, in_data: Any, out_grad: Any) -> None:
        self.stopwatch.end_part('backward')
