"""Run on n ranks: what the count, an iteration and the watchdog cost.

``mpiexec -n N python -m mpi4py cost.py [SECONDS]`` takes SECONDS (300) and prints two rows:
ranks, microseconds of the count and of ``allreduce_obj`` (the quickest of many blocks, on the
slowest rank), milliseconds of an iteration of a small model with 4 images a rank; and what the
watchdog adds to it.

The watchdog's share is below the noise of any one run. So one training takes turns, block by block
and in random order, without it, with it, and with one that looks ``OFTEN`` times a second: the
first two compare as they are, and the third, divided, says what a look costs. Bounds are 95 %
bootstrap intervals of the median of all rounds.
"""

import os

# Before NumPy is imported: ranks of one host, with a thread a core each, get in each other's way.
for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'

import contextlib  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import chainer  # noqa: E402
import chainermn  # noqa: E402
import numpy as np  # noqa: E402

from chainer_ssd import MultiboxTrainChain, SSDMini  # noqa: E402
from chainer_ssd.distributed import PositiveCount  # noqa: E402
from chainer_ssd.runtime import Watchdog  # noqa: E402

OFTEN = 200  # looks a second
BLOCK = 1.2  # seconds: the watchdog looks once a second


def seconds(comm, call, n_call):
    """The slowest rank's mean time of a call."""
    comm.mpi_comm.Barrier()
    began = time.perf_counter()
    for _ in range(n_call):
        call()
    return max(comm.mpi_comm.allgather((time.perf_counter() - began) / n_call))


def make_updater(comm):
    model = SSDMini(3, 64)
    chain = MultiboxTrainChain(model, comm=comm)
    optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.SGD(1e-4), comm)
    optimizer.setup(chain)
    optimizer.update()
    n_box = len(model.coder.default_bbox)
    rng = np.random.default_rng(comm.rank)
    examples = [
        (
            rng.normal(size=(3, 64, 64)).astype('f'),
            rng.normal(size=(n_box, 4)).astype('f'),
            (rng.random(n_box) < 0.02).astype('i'),
        )
        for _ in range(4)
    ]
    return chainer.training.StandardUpdater(
        chainer.iterators.SerialIterator(examples, 4), optimizer
    )


def train(comm, updater, n_iteration, looks):
    """An iteration under a watchdog that looks so often a second (0: without one).

    Its seconds on the slowest rank, its processor seconds on all, and what a second of the
    watchdog's thread was: processor seconds, and how often it was woken up.
    """
    watchdog = Watchdog(comm, 600) if looks else contextlib.nullcontext()
    with watchdog, tempfile.TemporaryDirectory() as out:
        trainer = chainer.training.Trainer(
            updater, (updater.iteration + n_iteration, 'iteration'), out
        )
        if looks:
            watchdog.interval = 1 / looks
            trainer.extend(watchdog)
            before = use_of(watchdog._thread)
        began = time.process_time()
        wall = seconds(comm, trainer.run, 1)
        processor = sum(comm.mpi_comm.allgather(time.process_time() - began))
        use = use_of(watchdog._thread) - before if looks else np.ones(3)
        return np.array([wall, processor]) / n_iteration, use[1:] / use[0]


def use_of(thread):
    """Clock; processor seconds of a thread, and how often it was woken up."""
    with open(f'/proc/self/task/{thread.native_id}/status') as status:
        facts = dict(line.split(':', 1) for line in status)
    return np.array(
        [
            time.perf_counter(),
            time.clock_gettime(time.pthread_getcpuclockid(thread.ident)),
            float(facts['voluntary_ctxt_switches']),
        ]
    )


def interval(values):
    """Median, and its 95 % bootstrap interval."""
    values = np.asarray(values)
    resampled = np.random.default_rng(0).choice(values, (10_000, len(values)))
    return np.median(values), *np.percentile(np.median(resampled, 1), [2.5, 97.5])


def main():
    comm = chainermn.create_communicator('naive')
    count = PositiveCount(comm)
    ours = 1e6 * min(seconds(comm, lambda: count.mean(17), 100) for _ in range(40))
    pickled = 1e6 * min(seconds(comm, lambda: comm.allreduce_obj(17.0), 100) for _ in range(40))

    updater = make_updater(comm)
    train(comm, updater, 5, 0)
    (wall, _), _ = train(comm, updater, 20, 0)
    turns, uses, order = {0: [], 1: [], OFTEN: []}, [], random.Random(0)
    for _ in range(max(2, round(float(*sys.argv[1:] or [300]) / (3 * BLOCK)))):
        for looks in order.sample(list(turns), 3):
            times, use = train(comm, updater, round(BLOCK / wall), looks)
            turns[looks].append(times)
            if looks == 1:
                uses.append(use)
    slower, slower_processor = map(interval, 100 * (np.divide(turns[1], turns[0]) - 1).T)
    look, look_processor = map(interval, 1e6 * (np.divide(turns[OFTEN], turns[0]) - 1).T / OFTEN)
    processor, wakes = np.mean(comm.mpi_comm.allgather(np.mean(uses, 0)), 0)
    if comm.rank == 0:
        milliseconds = 1e3 * np.median(turns[0], 0)[0]
        print(f'| {comm.size} | {ours:.1f} | {pickled:.1f} | {milliseconds:.1f} |')
        row = ' | '.join(
            [
                text.format(*bounds)
                for text, bounds in (
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', slower),
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', slower_processor),
                    ('{:.0f} µs ({:.0f} to {:.0f})', look),
                    ('{:.0f} µs ({:.0f} to {:.0f})', look_processor),
                )
            ]
        )
        print(f'| {comm.size} | {row} | {1e6 * processor:.0f} µs | {wakes:.1f} |', flush=True)


if __name__ == '__main__':
    main()
