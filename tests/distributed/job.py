"""A small training over MPI that can fail on request, and that can be resumed.

``mpiexec -n N python -m mpi4py job.py OUT [options]``. At the end, rank 0 writes OUT/weights.npz.
Dropout uses NumPy's global random state, and the model's own noise uses Python's. The data uses
(seed, epoch, index) in worker processes.
"""

import argparse
import ctypes
import os
import random
import signal
import sys
import threading
import time

import chainer
import chainer.functions as F
import chainermn
import numpy as np

from chainer_ssd.links import MultiboxTrainChain
from chainer_ssd.runtime import NaNPolicy, Snapshot, StragglerReport, Watchdog
from chainer_ssd.transforms import RandomTransformDataset

N_BOX, N_CLASS, N_IMAGE = 18, 4, 23
SLOW_SECONDS = 0.06


class Model(chainer.Chain):
    """Two layers, and dropout and noise between them if ``is_noisy``."""

    def __init__(self, is_noisy, slow_part=None):
        super().__init__()
        self.is_noisy, self.slow_part = is_noisy, slow_part
        with self.init_scope():
            self.hidden = chainer.links.Linear(27, 16)
            self.out = chainer.links.Linear(16, N_BOX * (4 + N_CLASS))

    def forward(self, imgs):
        h = F.relu(self.hidden(imgs))
        if self.is_noisy:
            h = F.dropout(h, 0.3) * (1 + 0.01 * random.gauss(0, 1))
        if self.slow_part == 'forward':
            time.sleep(SLOW_SECONDS)
        if self.slow_part == 'backward':
            (h,) = SlowBackward().apply((h,))
        h = F.reshape(self.out(h), (len(imgs), N_BOX, 4 + N_CLASS))
        return h[:, :, :4], h[:, :, 4:]


class SlowBackward(chainer.FunctionNode):
    """Identity with a slow backward pass."""

    def forward(self, inputs):
        return inputs

    def backward(self, indexes, grad_outputs):
        time.sleep(SLOW_SECONDS)
        return grad_outputs


class Fault:
    """Extension that fails at ``KIND@RANK@ITERATION``. A file starts faults in transforms."""

    def __init__(self, text, rank, out, slow_part):
        self.slow_part = slow_part
        self.kind, fault_rank, iteration = (text or 'none@0@0').split('@')
        self.is_on_this_rank, self.iteration = int(fault_rank) == rank, int(iteration)
        self.start_file = os.path.join(out, 'start')

    def is_due(self, kind, iteration):
        return self.is_on_this_rank and self.kind == kind and iteration >= self.iteration

    def __call__(self, trainer):
        iteration = trainer.updater.iteration
        if (
            self.is_on_this_rank
            and iteration >= self.iteration
            and self.kind.startswith('transform')
        ):
            open(self.start_file, 'w').close()
        if self.is_due('transform-stop-both', iteration - 1):  # a worker has stopped before
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.is_due('extension', iteration):
            raise OSError('the disk is gone')
        if self.is_due('exit', iteration):
            sys.exit()
        if self.is_due('stop', iteration):
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.is_due('kill', iteration):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.is_due('thread', iteration) and iteration == self.iteration:
            threading.Thread(target=lambda: 1 / 0, name='reader').start()
        if self.is_due('poll', iteration):
            while True:
                time.sleep(0.05)
        if self.is_due('gil', iteration):  # a call outside of Python that holds its lock
            ctypes.PyDLL(None).sleep(3600)
        if self.is_due('sleep', iteration):
            time.sleep(3600)
        if self.is_due('object', iteration):  # an extension that only this rank runs
            trainer.updater.get_optimizer('main').communicator.allreduce_obj(6.0)
        if self.is_due('barrier', iteration):  # the same without ChainerMN
            trainer.updater.get_optimizer('main').communicator.mpi_comm.Barrier()
        if self.is_due('pause', iteration) and iteration == self.iteration:
            end = time.monotonic() + 8
            while time.monotonic() < end:  # long and busy, like an evaluation
                np.sort(np.random.RandomState(0).rand(100_000))

    def transform(self, example, rng):
        if (
            self.is_on_this_rank
            and self.kind.startswith('transform')
            and os.path.exists(self.start_file)
        ):
            if self.kind in ('transform', 'transform-worker'):
                raise ValueError('this image is broken')
            if self.kind == 'transform-kill':
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind == 'transform-exit':
                sys.exit(3)
            if self.kind in ('transform-stop', 'transform-stop-both'):
                os.kill(os.getpid(), signal.SIGSTOP)
        if self.slow_part == 'data':
            time.sleep(SLOW_SECONDS / 2)  # a batch has two examples
        x, loc, label = example
        return x + rng.normal(scale=0.1, size=x.shape).astype('f'), loc, label


def make_trainer(args, comm, fault, policy):
    rng = np.random.default_rng(0)
    label = (rng.random((N_IMAGE, N_BOX)) < 0.3) * rng.integers(1, N_CLASS, (N_IMAGE, N_BOX))
    data = list(
        zip(
            rng.normal(size=(N_IMAGE, 27)).astype('f'),
            rng.normal(size=(N_IMAGE, N_BOX, 4)).astype('f'),
            label.astype('i'),
        )
    )
    data = RandomTransformDataset(data, fault.transform, 0, comm.rank, comm.size)
    options = {'order_sampler': data.next_epoch}
    if args.workers:
        iterator = chainer.iterators.MultiprocessIterator(
            data, args.batchsize, n_processes=args.workers, shared_mem=4096, **options
        )
    else:
        iterator = chainer.iterators.SerialIterator(data, args.batchsize, **options)
    np.random.seed(comm.rank)
    random.seed(comm.rank)
    chain = MultiboxTrainChain(Model(not args.plain, fault.slow_part), comm=comm)
    optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.Adam(), comm)
    optimizer.setup(chain)
    optimizer.update()  # the first call only broadcasts rank 0's weights
    if args.nan != 'ignore':
        optimizer.add_hook(policy)
    updater = Updater(iterator, optimizer, fault=fault)
    trainer = chainer.training.Trainer(updater, (args.iterations, 'iteration'), args.out)
    trainer.extend(fault, name='fault')
    return trainer


class Updater(chainer.training.StandardUpdater):
    def __init__(self, *args, fault):
        super().__init__(*args)
        self.fault = fault

    def update_core(self):
        if self.fault.is_due('hang', self.iteration):
            time.sleep(3600)
        if self.fault.is_due('loop', self.iteration):
            while True:
                pass
        if self.fault.is_due('nan', self.iteration) and self.iteration == self.fault.iteration:
            self.fault.is_on_this_rank = False
            target = self.get_optimizer('main').target
            self.loss_func = lambda *arrays: target(*arrays) * np.float32('nan')
        super().update_core()
        self.loss_func = None


def main():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add('out')
    add('--iterations', type=int, default=12)
    add('--fault')
    add('--watchdog', type=float, default=0)
    add('--watchdog-port', type=int, default=0)
    add('--workers', type=int, default=0)
    add('--snapshot', type=int, default=0)
    add('--resume', action='store_true')
    add('--nan', choices=('raise', 'skip', 'ignore'), default='raise')
    add('--slow-part', default='', help='PART@RANK: a rank that is slow in this part')
    add('--plain', action='store_true', help='a model without dropout and noise')
    add('--batchsize', type=int, default=2)
    add('--slow', type=float, default=0, help='seconds added to each iteration')
    args = parser.parse_args()
    comm = chainermn.create_communicator('naive')
    os.makedirs(args.out, exist_ok=True)
    if args.watchdog:
        with Watchdog(comm, args.watchdog, args.watchdog_port) as watchdog:
            train(args, comm, watchdog)
    else:
        train(args, comm, None)


def train(args, comm, watchdog):
    part, _, slow_rank = args.slow_part.partition('@')
    is_slow = slow_rank == str(comm.rank)
    fault = Fault(args.fault, comm.rank, args.out, part if is_slow else None)
    if fault.is_due('start', fault.iteration):
        raise FileNotFoundError('no such data set')
    policy = NaNPolicy('raise' if args.nan == 'ignore' else args.nan)
    trainer = make_trainer(args, comm, fault, policy)
    if watchdog is not None:
        trainer.extend(watchdog)
        trainer.extend(StragglerReport(watchdog), trigger=(60, 'iteration'))
    if args.slow:
        trainer.extend(lambda _: time.sleep(args.slow), name='slow')
    if args.snapshot:
        snapshot = Snapshot(args.out, comm)
        trainer.extend(snapshot, trigger=(args.snapshot, 'iteration'))
        if args.resume:
            iteration = snapshot.resume(trainer)
            if comm.rank == 0:
                print(f'resumed from {iteration}', flush=True)
    trainer.run()
    if comm.rank == 0:
        optimizer = trainer.updater.get_optimizer('main')
        chainer.serializers.save_npz(os.path.join(args.out, 'weights.npz'), optimizer.target)
        finite = all(np.isfinite(param.array).all() for param in optimizer.target.params())
        print(
            f'done after {trainer.updater.iteration} iterations, {policy.n_skipped} skipped, '
            f'all weights {"" if finite else "not "}finite',
            flush=True,
        )


if __name__ == '__main__':
    main()
