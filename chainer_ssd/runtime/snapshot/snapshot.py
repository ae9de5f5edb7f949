"""Snapshots that a run resumes from bit for bit."""

import hashlib
import os
import re
import tempfile
import warnings

import numpy as np
from chainer.training import Extension

from chainer_ssd.distributed import from_rank_0, gather_values, raise_together
from chainer_ssd.runtime.snapshot.record import (
    delete_record,
    read_arrays,
    read_record,
    write_record,
)
from chainer_ssd.runtime.snapshot.training_state import restore_training, training_state


class Snapshot(Extension):
    """Trainer extension that saves all that the rest of a run depends on, and resumes from it.

    A generation is what all ranks saved after one iteration: weights, optimizer, the iterator's
    position, extensions, and Python's and NumPy's global random state of each rank. A resumed run
    ends with the weights, bit for bit, of one that was never interrupted, provided that data sets
    draw from generators of their own (:class:`chainer_ssd.RandomTransformDataset`); CuPy's random
    state cannot be read and is not saved.

    Rank r writes ``snapshot_<iteration>_rank<r>.npz``, without pickle and without what equals
    rank 0's, and then a ``.json`` with its checksum: each under a temporary name, flushed to the
    disk, renamed. A process killed at any moment leaves earlier generations whole.

    Parameters
    ----------
    folder : str
        Where to write; made if missing. It may be each host's own.
    comm : chainermn.CommunicatorBase, optional
        Every rank extends its trainer with a snapshot, with the same trigger.
    n_retained : int
        How many generations are kept, 1 or more.

    Raises
    ------
    ValueError
        If ``n_retained`` is less than 1.
    RuntimeError
        On every rank, if one cannot save or write; it names the rank and the cause.
    """

    trigger = 1, 'epoch'
    priority = -100  # after the iteration's other extensions: their state belongs to it

    def __init__(self, folder, comm=None, n_retained=3):
        if n_retained < 1:
            raise ValueError(f'n_retained = {n_retained}: expected 1 or more')
        self.folder, self.comm, self.n_retained = os.fspath(folder), comm, n_retained
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)

    def initialize(self, trainer):
        """Called by the trainer when it begins: a folder that cannot be written is told now."""
        error = None
        try:
            os.makedirs(self.folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as found:
            error = found
        raise_together(self.comm, error)

    def __call__(self, trainer):
        """Saves a generation; deletes the oldest, and later ones. A collective call."""
        iteration, error = trainer.updater.iteration, None
        try:
            state = training_state(trainer)
            digests = {name: _digest(array) for name, array in state.items()}
        except Exception as found:  # an extension may not let itself be saved
            error = found
        raise_together(self.comm, error)
        shared = from_rank_0(self.comm, digests)
        if self.rank:
            state = {name: state[name] for name in state if digests[name] != shared.get(name)}
        try:
            os.makedirs(self.folder, exist_ok=True)
            write_record(
                self._path(iteration),
                state,
                iteration=iteration,
                size=self.size,
                from_rank_0=sorted(digests.keys() - state.keys()),
            )
        except Exception as found:
            error = found
        raise_together(self.comm, error)  # from here on the generation is whole on all ranks
        saved = self._iterations()
        past = [other for other in saved if other <= iteration]
        abandoned = saved[len(past) :]  # of a run that went further and was not resumed from there
        for other in past[: -self.n_retained] + abandoned:
            delete_record(self._path(other))

    def resume(self, trainer):
        """Goes on from the newest generation that is whole on all ranks. A collective call.

        Call it when the trainer is complete, before it runs.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            Extended and set up as the one that was saved.

        Returns
        -------
        int or None
            The iteration; None if there is no whole generation, and nothing was changed. A warning
            on rank 0 says which generations were passed over, and why.

        Raises
        ------
        RuntimeError
            On every rank, if the generation was saved by another number of ranks, or does not fit
            the trainer.
        """
        whole, torn, error = {}, {}, None
        try:
            for iteration in self._iterations():
                try:
                    whole[iteration] = read_record(self._path(iteration))
                except ValueError as found:
                    torn[iteration] = str(found)
            # Before another number of ranks takes it for no generation, and deletes it.
            self._check_size(whole)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        everywhere = gather_values(self.comm, (sorted(whole), torn))
        common = set.intersection(*(set(iterations) for iterations, _ in everywhere))
        newest = max(common, default=None)
        if self.rank == 0:
            self._warn(everywhere, newest)
        if newest is None:
            return None
        try:
            facts = whole[newest]
            state = read_arrays(self._path(newest), facts)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        first = from_rank_0(self.comm, state)
        try:
            state.update({name: first[name] for name in facts['from_rank_0']})
            restore_training(trainer, state)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        return newest

    def _check_size(self, whole):
        newest = max(whole, default=None)
        if newest is not None and whole[newest]['size'] != self.size:
            raise ValueError(
                f'{self._path(newest)}.npz was saved by {whole[newest]["size"]} ranks: expected '
                f'{self.size}, as many as resume from it'
            )

    def _path(self, iteration):
        return os.path.join(self.folder, f'snapshot_{iteration:08d}_rank{self.rank}')

    def _iterations(self):
        # Every generation that this rank has a file of, whole or not, the oldest first.
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        matches = (re.fullmatch(rf'snapshot_(\d+)_rank{self.rank}\.(npz|json)', n) for n in names)
        return sorted({int(match[1]) for match in matches if match})

    def _warn(self, everywhere, newest):
        passed = {
            iteration
            for whole, torn in everywhere
            for iteration in {*whole, *torn}
            if newest is None or iteration > newest
        }
        for iteration in sorted(passed):
            why = '; '.join(
                f'rank {rank}: ' + torn.get(iteration, 'it has no such file')
                for rank, (whole, torn) in enumerate(everywhere)
                if iteration not in whole
            )
            warnings.warn(f'snapshot of iteration {iteration} passed over: {why}', stacklevel=3)


def _digest(array):
    digest = hashlib.sha256(f'{array.dtype} {array.shape}'.encode())
    digest.update(b'None' if array.dtype == object else np.ascontiguousarray(array))
    return digest.digest()
