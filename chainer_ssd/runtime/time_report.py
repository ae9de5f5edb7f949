"""Where the seconds of an iteration go."""

import time

import chainer
from chainer.training import Extension

_NAME = 'TimeReport'
_PARTS = 'data', 'forward', 'loss', 'backward', 'allreduce', 'update', 'extensions'


class TimeReport(Extension):
    """Trainer extension that reports how long each part of an iteration takes, in seconds.

    Reports, observed as ``main/time/data`` and so on, and so in the log as means:

    - ``data``: until the optimizer's target is called: waiting for the iterator, making the batch,
      sending it to the device. Long: too few data workers.
    - ``forward``: in the links that the target holds (the model).
    - ``loss``: in the rest of the target's call.
    - ``backward``: until the last function's gradients are there.
    - ``allreduce``: from there until the optimizer's hooks begin, with ChainerMN's optimizer only:
      averaging the gradients, waiting for slower ranks. What ranks exchange earlier (the positive
      count, ``MultiNodeBatchNormalization``) counts where it happens.
    - ``update``: the optimizer's hooks and update rules.
    - ``extensions``: all extensions after the iteration before: evaluation, logs, snapshots.

    They add up to the whole iteration. Nothing is run twice and nothing is waited for: the times
    are the host's. A GPU works behind it, so there a part is charged with the launching of its
    kernels only, and whoever first needs a result (a copy to the host, a full queue) with the
    waiting for all of them; the sum is right all the same. ``synchronize`` tells the parts apart.

    Parameters
    ----------
    synchronize : bool
        Wait for the GPU at the end of each part, and in the backward pass of each function: true
        times of the parts, of an iteration that is slower for it. For a look, not for a whole
        training; changes nothing on a CPU.

    Notes
    -----
    Hooks on the target, its children and the functions of the backward pass tell where the
    iteration is. Hooks of the optimizer that were added before the trainer runs come before ours:
    with ChainerMN they count as ``allreduce``.
    """

    trigger = 1, 'iteration'
    priority = -1000  # after all others: here the next iteration begins

    def __init__(self, synchronize=False):
        self.synchronize = synchronize

    def initialize(self, trainer):
        """Called by the trainer when it begins: sets the hooks."""
        self._optimizer = optimizer = trainer.updater.get_optimizer('main')
        target = optimizer.target
        on_gpu = target.xp is chainer.backends.cuda.cupy
        with_ranks = hasattr(optimizer, 'communicator')
        parts = [part for part in _PARTS if with_ranks or part != 'allreduce']
        self._watch = watch = _Watch(parts, self.synchronize and on_gpu)
        self._links = [target, *target.children()]
        for link in self._links:
            link.add_hook(_LinkHook(watch, link is target), _NAME)
        self._function_hook = _FunctionHook(watch)
        self._function_hook.__enter__()
        after_backward = 'allreduce' if with_ranks else 'update'
        optimizer.add_hook(lambda _: watch.lap(after_backward), f'{_NAME} pre', 'pre')
        optimizer.add_hook(self._report, f'{_NAME} post', 'post')

    def __call__(self, trainer):
        """Called by the trainer after each iteration's other extensions."""
        self._watch.lap('extensions')

    def finalize(self):
        """Called by the trainer when it ends: takes the hooks away."""
        for link in self._links:
            link.delete_hook(_NAME)
        self._function_hook.__exit__()
        for timing in ('pre', 'post'):
            self._optimizer.remove_hook(f'{_NAME} {timing}')

    def _report(self, optimizer):
        watch = self._watch
        watch.lap('update')
        chainer.report(
            {f'time/{part}': seconds for part, seconds in watch.seconds.items()}, optimizer.target
        )
        watch.seconds = dict.fromkeys(watch.seconds, 0.0)


class _Watch:
    """Adds the time since the last lap to a part of the iteration."""

    def __init__(self, parts, synchronize):
        self.seconds, self.synchronize = dict.fromkeys(parts, 0.0), synchronize
        self.in_target, self._last = False, time.perf_counter()

    def lap(self, part):
        if self.synchronize:
            chainer.backends.cuda.Stream.null.synchronize()
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


class _LinkHook(chainer.LinkHook):
    # A child that others call is no part of the iteration, nor is the target in test mode: both
    # are an evaluator's.

    def __init__(self, watch, is_target):
        self.watch, self.is_target = watch, is_target

    def forward_preprocess(self, args):
        if self.watch.in_target:
            self.watch.lap('loss')
        elif self.is_target and chainer.config.train:
            self.watch.lap('data')
            self.watch.in_target = True

    def forward_postprocess(self, args):
        if self.watch.in_target:
            self.watch.lap('loss' if self.is_target else 'forward')
        self.watch.in_target &= not self.is_target


class _FunctionHook(chainer.FunctionHook):
    name = _NAME

    def __init__(self, watch):
        self.watch = watch

    def backward_postprocess(self, function, in_data, out_grad):
        self.watch.lap('backward')
