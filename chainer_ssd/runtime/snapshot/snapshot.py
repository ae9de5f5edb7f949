"""Trainer extension that saves the whole state of a run and resumes from it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from chainer.training import Extension, Trainer

from chainer_ssd._options import check_integer
from chainer_ssd.distributed import Communicator, from_rank_0, gather_values, raise_together
from chainer_ssd.runtime.snapshot.files import find_snapshot_files, snapshot_path
from chainer_ssd.runtime.snapshot.record import (
    delete_record,
    read_arrays,
    read_record,
    write_record,
)
from chainer_ssd.runtime.snapshot.training_state import restore_training, training_state


class Snapshot(Extension):
    """Trainer extension that saves all that the rest of a run depends on, and resumes from it.

    A generation is what all ranks save after one iteration. It holds weights, optimizer,
    extensions, and the position of the iterator. It also holds the global random states of Python
    and NumPy. A resumed run ends with the same weights as an uninterrupted run, bit for bit.
    This needs a data set with random generators of its own, such as
    :class:`chainer_ssd.RandomTransformDataset`. CuPy's random state cannot be read and is not
    saved.

    Each rank writes ``snapshot_<iteration>_rank<rank>.npz`` without pickle, and then a ``.json``
    file with its checksum. Ranks other than 0 leave out arrays that equal those of rank 0. Each
    file is written under a temporary name, flushed to the disk and renamed. If the process is
    killed at any moment, earlier generations stay complete.

    Parameters
    ----------
    folder : str or path
        Folder for the files. It is made if missing. Each host may have a folder of its own.
    comm : chainermn.CommunicatorBase, optional
        Communicator of the run. Every rank extends its trainer with a snapshot that has the same
        trigger. Default: one process.
    n_retained : int
        Number of generations to keep, at least 1. Default: 3. A larger number gives older
        generations to return to, and needs more disk space.

    Raises
    ------
    ValueError
        If ``n_retained`` is less than 1.
    RuntimeError
        On every rank, if one rank cannot save or write. The message names the rank and the cause.

    Notes
    -----
    :func:`chainer.training.extensions.snapshot` saves one process. It saves no random state and no
    checksum, and several ranks do not agree on the iteration to resume from.
    ``chainermn.create_multi_node_checkpointer`` agrees on the newest iteration by file names only:
    a damaged file ends the resumed run. It saves no random state, and deletes its files at the end
    of a run. ``chainermn.extensions.multi_node_snapshot`` saves one rank of each set of replicas
    and loads its state on the others, so the iterators of the others are lost.
    """

    trigger = 1, 'epoch'
    priority = -100  # after the iteration's other extensions, because their state is saved

    def __init__(
        self,
        folder: str | os.PathLike[str],
        comm: Communicator | None = None,
        n_retained: int = 3,
    ) -> None:
        self.n_retained = check_integer('n_retained', n_retained, 1)
        self.folder, self.comm = os.fspath(folder), comm
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)

    def initialize(self, trainer: Trainer) -> None:
        """Raise an error before the training if the folder cannot be written.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this method.
        """
        error = None
        try:
            os.makedirs(self.folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as found:
            error = found
        raise_together(self.comm, error)

    def __call__(self, trainer: Trainer) -> None:
        """Save a generation, then delete the oldest one. A collective call.

        Generations of a later iteration are deleted as well: an earlier run has left them.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer to save.
        """
        iteration = trainer.updater.iteration
        error: Exception | None = None
        try:
            state = training_state(trainer)
            digests = {name: _digest(array) for name, array in state.items()}
        except Exception as found:  # an extension may raise anything
            error = found
        raise_together(self.comm, error)
        digests_of_rank_0 = from_rank_0(self.comm, digests)
        if self.rank:
            state = {n: state[n] for n in state if digests[n] != digests_of_rank_0.get(n)}
        try:
            os.makedirs(self.folder, exist_ok=True)
            write_record(
                self._path(iteration),
                state,
                iteration=iteration,
                rank=self.rank,
                size=self.size,
                from_rank_0=sorted(digests.keys() - state.keys()),
            )
        except Exception as found:
            error = found
        raise_together(self.comm, error)  # from here on the generation is complete on all ranks
        saved = self._iterations()
        n_past = sum(other <= iteration for other in saved)
        for other in saved[: max(0, n_past - self.n_retained)] + saved[n_past:]:
            delete_record(self._path(other))

    def resume(self, trainer: Trainer) -> int | None:
        """Load the newest generation that is complete on all ranks. A collective call.

        Call it when the trainer has all its extensions, and before it runs.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            A trainer with the same model, optimizer, iterator and extensions as the saved one.

        Returns
        -------
        int or None
            The iteration of the generation. None if there is no complete generation: then the
            trainer is not changed. Rank 0 warns of each newer generation that was skipped, with
            the reason.

        Raises
        ------
        RuntimeError
            On every rank, if another number of ranks has saved the generation, or if it does not
            fit the trainer.
        """
        complete: dict[int, dict[str, Any]] = {}
        damaged: dict[int, str] = {}
        error: Exception | None = None
        try:
            for iteration in self._iterations():
                try:
                    facts = read_record(self._path(iteration))
                    if (facts['iteration'], facts['rank']) != (iteration, self.rank):
                        raise ValueError(
                            f'{self._path(iteration)}.json was renamed: it is of iteration '
                            f'{facts["iteration"]} and rank {facts["rank"]}'
                        )
                    complete[iteration] = facts
                except ValueError as found:
                    damaged[iteration] = str(found)
            # Must come before the search for a common generation. With more ranks than before
            # there is none, so the run would start over and delete these snapshots.
            self._check_size(complete)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        on_ranks = gather_values(self.comm, (sorted(complete), damaged))
        common = set.intersection(*(set(iterations) for iterations, _ in on_ranks))
        newest = max(common, default=None)
        if self.rank == 0:
            _warn_of_skipped(on_ranks, newest)
        if newest is None:
            return None
        try:
            facts = complete[newest]
            state = read_arrays(self._path(newest), facts)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        state_of_rank_0 = from_rank_0(self.comm, state)
        try:
            state.update({name: state_of_rank_0[name] for name in facts['from_rank_0']})
            restore_training(trainer, state)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        return newest

    def _check_size(self, complete: Mapping[int, Mapping[str, Any]]) -> None:
        newest = max(complete, default=None)
        if newest is not None and complete[newest]['size'] != self.size:
            raise ValueError(
                f'{self._path(newest)}.npz was saved by {complete[newest]["size"]} ranks: '
                f'expected {self.size}, the number of ranks that resume'
            )

    def _path(self, iteration: int) -> str:
        return snapshot_path(self.folder, iteration, self.rank)

    def _iterations(self) -> list[int]:
        """Return the iterations of which this rank has a file, sorted."""
        files = find_snapshot_files(self.folder)
        return sorted({file.iteration for file in files if file.rank == self.rank})


def _warn_of_skipped(on_ranks: list[tuple[list[int], dict[int, str]]], newest: int | None) -> None:
    """Warn of generations after ``newest``. ``on_ranks``: complete and damaged ones by rank."""
    skipped = {
        iteration
        for complete, damaged in on_ranks
        for iteration in {*complete, *damaged}
        if newest is None or iteration > newest
    }
    for iteration in sorted(skipped):
        reasons = '; '.join(
            f'rank {rank}: ' + damaged.get(iteration, 'it has no such file')
            for rank, (complete, damaged) in enumerate(on_ranks)
            if iteration not in complete
        )
        warnings.warn(f'snapshot of iteration {iteration} skipped: {reasons}', stacklevel=3)


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.sha256(f'{array.dtype} {array.shape}'.encode())
    digest.update(b'None' if array.dtype == object else np.ascontiguousarray(array).data)
    return digest.digest()
