"""Trainer extension that saves the whole state of a run and resumes from it."""

from __future__ import annotations

import hashlib
import os
import tempfile

import numpy as np
from chainer.training import Extension, Trainer

from chainer_ssd._options import check_integer
from chainer_ssd.distributed import Communicator, from_rank_0, gather_values, raise_together
from chainer_ssd.runtime.snapshot.commit import Commit, write_commit
from chainer_ssd.runtime.snapshot.files import (
    commit_path,
    find_commit_files,
    find_snapshot_files,
    remove_if_present,
    snapshot_path,
)
from chainer_ssd.runtime.snapshot.load import load_newest
from chainer_ssd.runtime.snapshot.record import delete_record, write_record
from chainer_ssd.runtime.snapshot.resize import batch_sizes
from chainer_ssd.runtime.snapshot.training_state import training_state


class Snapshot(Extension):
    """Trainer extension that saves all that the rest of a run depends on, and resumes from it.

    A generation is what all ranks save after one iteration. It holds weights, optimizer,
    extensions, and the position of the iterator. It also holds the global random states of Python
    and NumPy. A resumed run ends with the same weights as an uninterrupted run, bit for bit.
    This needs a data set with random generators of its own, such as
    :class:`chainer_ssd.RandomTransformDataset`. CuPy's random state cannot be read and is not
    saved.

    Each rank writes ``snapshot_<iteration>_rank<rank>.npz`` without pickle, and then a ``.json``
    file with its checksum. Ranks other than 0 leave out arrays that equal those of rank 0. When all
    ranks have written theirs, rank 0 commits the generation: it writes
    ``snapshot_<iteration>_committed.json``. Each file is written under a temporary name, flushed to
    the disk and renamed. If the process is killed at any moment, earlier generations stay complete.

    A run may resume on another number of ranks. Weights, optimizer, extensions and a seeded order
    of the examples (:meth:`chainer_ssd.RandomTransformDataset.next_epoch`) continue. With the same
    global batch, the result equals that of a run on one number of ranks, up to rounding.

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
        self._passed_over: set[int] = set()  # generations that are never deleted

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
        """Save and commit a generation, then delete the oldest one. A collective call.

        Generations of a later iteration are deleted as well: an earlier run has left them. But
        generations that :meth:`resume` has passed over are kept.

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
            # A generation that is written again is not complete.
            remove_if_present(commit_path(self.folder, iteration, self.rank))
        except Exception as found:  # an extension may raise anything
            error = found
        raise_together(self.comm, error)
        digests_of_rank_0 = from_rank_0(self.comm, digests)
        if self.rank:
            state = {n: state[n] for n in state if digests[n] != digests_of_rank_0.get(n)}
        checksum = ''
        try:
            os.makedirs(self.folder, exist_ok=True)
            checksum = write_record(
                self._path(iteration),
                state,
                iteration=iteration,
                rank=self.rank,
                size=self.size,
                batch_sizes=batch_sizes(trainer),
                from_rank_0=sorted(digests.keys() - state.keys()),
            )
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        self._passed_over.discard(iteration)
        commit = Commit(iteration, gather_values(self.comm, checksum))
        expired: list[int] = []
        try:
            if self.rank == 0:
                write_commit(self.folder, commit)
                expired = self._expired(iteration)
                for other in expired:  # before any rank deletes a part
                    remove_if_present(commit_path(self.folder, other))
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        expired = from_rank_0(self.comm, expired)
        try:
            if self.rank:
                write_commit(self.folder, commit, self.rank)
            self._delete(expired)
        except Exception as found:
            error = found
        raise_together(self.comm, error)

    def resume(self, trainer: Trainer) -> int | None:
        """Load the newest committed generation. A collective call.

        Call it when the trainer has all its extensions, and before it runs.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            A trainer with the same model, optimizer, iterator and extensions as the saved one.

        Returns
        -------
        int or None
            The iteration of the generation. None if no generation was committed: then the trainer
            is not changed.

        Raises
        ------
        RuntimeError
            On every rank, if a rank lacks a file of the newest committed generation that is not
            damaged. The message names the generation, the rank and the file. If no committed
            generation can be read, or the generation does not fit the trainer.

        Warns
        -----
        UserWarning
            On rank 0, for each newer generation that is passed over, with the reason. A damaged
            one is, and so is one that was not committed, because the run ended while it was
            written. If another number of ranks has saved the generation: what is not carried over.
        """
        iteration, self._passed_over = load_newest(self.folder, self.comm, trainer)
        return iteration

    def _expired(self, iteration: int) -> list[int]:
        """Return the generations that rank 0 has committed and that are not kept any longer."""
        committed = {other for other, _ in find_commit_files(self.folder)} - self._passed_over
        past = sorted(other for other in committed if other <= iteration)
        later = [other for other in committed if other > iteration]
        return past[: -self.n_retained] + later

    def _delete(self, expired: list[int]) -> None:
        """Delete this rank's files of generations, and those of ranks that no longer exist."""
        for iteration, path in find_commit_files(self.folder):
            if iteration in expired:
                remove_if_present(path)
        for file in find_snapshot_files(self.folder):
            if file.iteration in expired and file.rank % self.size == self.rank:
                delete_record(snapshot_path(self.folder, file.iteration, file.rank))

    def _path(self, iteration: int) -> str:
        return snapshot_path(self.folder, iteration, self.rank)


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.sha256(f'{array.dtype} {array.shape}'.encode())
    digest.update(b'None' if array.dtype == object else np.ascontiguousarray(array).data)
    return digest.digest()
