"""Measures what the positive count, an iteration and the watchdog cost on n ranks.

``mpiexec -n N python -m mpi4py measure_cost.py [SECONDS]`` runs for SECONDS (300). It prints two
rows. The first has the number of ranks, the microseconds of the count and of ``allreduce_obj``
(the fastest of many blocks, on the slowest rank), and the milliseconds of an iteration of a small
model with 4 images a rank. The second has the cost of the watchdog.

The cost of the watchdog is below the noise of one run. So one training runs in blocks, in random
order: without a watchdog, with one, and with one that does everything ``FREQUENT`` times a second.
The first two are compared directly. The third gives an upper bound, by division: a watchdog looks
at the main thread ten times a second, and sends a heartbeat once a second. The bounds are 95 %
bootstrap intervals of the median of all rounds.
"""

import os

# Must come before NumPy is imported. Otherwise each rank of a host uses a thread per core.
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
from chainer_ssd.runtime.watchdog import watchdog as watchdog_module  # noqa: E402

USUAL, FREQUENT = 10, 200  # samples a second
BLOCK_SECONDS = 1.2  # more than one second, since the watchdog sends a heartbeat once a second


def measure_seconds(comm, call, n_call):
    """Return the slowest rank's mean time of a call."""
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


def train(comm, updater, n_iteration, n_samples):
    """Train with a watchdog that takes n samples a second. 0 means without one.

    Return the seconds of an iteration on the slowest rank, its processor seconds on all ranks, and
    the processor seconds and wake-ups of the watchdog's thread in a second.
    """
    watchdog = Watchdog(comm, 600) if n_samples else contextlib.nullcontext()
    with watchdog, tempfile.TemporaryDirectory() as out:
        trainer = chainer.training.Trainer(
            updater, (updater.iteration + n_iteration, 'iteration'), out
        )
        if n_samples:
            watchdog_module.SAMPLE_SECONDS = 1 / n_samples
            if n_samples == FREQUENT:
                watchdog.interval = 1 / n_samples
            trainer.extend(watchdog)
            before = read_usage(watchdog._thread)
        began = time.process_time()
        wall = measure_seconds(comm, trainer.run, 1)
        processor = sum(comm.mpi_comm.allgather(time.process_time() - began))
        usage = read_usage(watchdog._thread) - before if n_samples else np.ones(3)
        return np.array([wall, processor]) / n_iteration, usage[1:] / usage[0]


def read_usage(thread):
    """Return the clock, the processor seconds of a thread, and the number of its wake-ups."""
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
    """Return the median and its 95 % bootstrap interval."""
    values = np.asarray(values)
    resampled = np.random.default_rng(0).choice(values, (10_000, len(values)))
    return np.median(values), *np.percentile(np.median(resampled, 1), [2.5, 97.5])


def main():
    comm = chainermn.create_communicator('naive')
    count = PositiveCount(comm)
    ours = 1e6 * min(measure_seconds(comm, lambda: count.mean(17), 100) for _ in range(40))
    pickled = 1e6 * min(
        measure_seconds(comm, lambda: comm.allreduce_obj(17.0), 100) for _ in range(40)
    )

    updater = make_updater(comm)
    train(comm, updater, 5, 0)
    (wall, _), _ = train(comm, updater, 20, 0)
    rounds, usages, order = {0: [], USUAL: [], FREQUENT: []}, [], random.Random(0)
    for _ in range(max(2, round(float(*sys.argv[1:] or [300]) / (3 * BLOCK_SECONDS)))):
        for n_samples in order.sample(list(rounds), 3):
            times, usage = train(comm, updater, round(BLOCK_SECONDS / wall), n_samples)
            rounds[n_samples].append(times)
            if n_samples == USUAL:
                usages.append(usage)
    slower, slower_processor = map(interval, 100 * (np.divide(rounds[USUAL], rounds[0]) - 1).T)
    frequent = 100 * (np.divide(rounds[FREQUENT], rounds[0]) - 1)
    bound, bound_processor = map(interval, frequent.T * USUAL / FREQUENT)
    processor, wakes = np.mean(comm.mpi_comm.allgather(np.mean(usages, 0)), 0)
    if comm.rank == 0:
        milliseconds = 1e3 * np.median(rounds[0], 0)[0]
        print(f'| {comm.size} | {ours:.1f} | {pickled:.1f} | {milliseconds:.1f} |')
        row = ' | '.join(
            [
                text.format(*bounds)
                for text, bounds in (
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', slower),
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', slower_processor),
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', bound),
                    ('{:+.2f} % ({:+.2f} to {:+.2f})', bound_processor),
                )
            ]
        )
        print(f'| {comm.size} | {row} | {1e6 * processor:.0f} µs | {wakes:.1f} |', flush=True)


if __name__ == '__main__':
    main()
