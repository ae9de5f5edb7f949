"""The newest committed generation, found and loaded by all ranks together."""

from __future__ import annotations

import warnings
from typing import Any

from chainer.training import Trainer

from chainer_ssd.distributed import Communicator, from_rank_0, gather_values, raise_together
from chainer_ssd.runtime.snapshot.commit import Commit, find_fault, read_commits
from chainer_ssd.runtime.snapshot.files import find_snapshot_files, snapshot_path
from chainer_ssd.runtime.snapshot.record import read_arrays, read_record
from chainer_ssd.runtime.snapshot.resize import describe_resize, resize_state
from chainer_ssd.runtime.snapshot.training_state import restore_training


def load_newest(
    folder: str, comm: Communicator | None, trainer: Trainer
) -> tuple[int | None, set[int]]:
    """Return the iteration that was loaded, and those that were passed over. A collective call.

    See :meth:`chainer_ssd.Snapshot.resume`.
    """
    search = _Search(folder, comm)
    return search.load(trainer), search.passed_over


class _Search:
    """Ranks that look at the generations of their folders."""

    def __init__(self, folder: str, comm: Communicator | None) -> None:
        self.folder, self.comm = folder, comm
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self.passed_over: set[int] = set()

    def load(self, trainer: Trainer) -> int | None:
        """Load the newest committed generation that is not damaged."""
        commits, uncommitted = self._list_generations()
        chosen: Commit | None = None
        for iteration in sorted(commits, reverse=True):
            commit = commits[iteration]
            faults = [commit] if isinstance(commit, str) else self._find_faults(commit)
            if not faults and isinstance(commit, Commit):
                chosen = commit
                break
            self.passed_over.add(iteration)
            self._warn(f'snapshot of iteration {iteration} skipped: ' + '; '.join(faults))
        for iteration in sorted(uncommitted):
            self.passed_over.add(iteration)
            if chosen is None or iteration > chosen.iteration:
                self._warn(
                    f'snapshot of iteration {iteration} skipped: not all ranks had written it when '
                    'the run ended'
                )
        if chosen is None and commits:
            raise RuntimeError(
                f'{self.folder}: no committed snapshot can be read. Restore the files, or start a '
                'new training in another folder'
            )
        if chosen is not None:
            self._restore(trainer, chosen)
        return None if chosen is None else chosen.iteration

    def _list_generations(self) -> tuple[dict[int, Commit | str], set[int]]:
        """Return the committed generations, or what is wrong with their file, and the others."""
        error: Exception | None = None
        found: dict[int, Commit | str] = {}
        own: set[int] = set()
        try:
            found = read_commits(self.folder)
            own = {
                file.iteration
                for file in find_snapshot_files(self.folder)
                if file.rank == self.rank
            }
        except Exception as failed:
            error = failed
        raise_together(self.comm, error)
        commits: dict[int, Commit | str] = {}
        written: set[int] = set()
        for rank, (commits_of_rank, own_of_rank) in enumerate(
            gather_values(self.comm, (found, own))
        ):
            written |= own_of_rank
            for iteration, commit in commits_of_rank.items():
                if isinstance(commit, str):
                    commits.setdefault(iteration, f'rank {rank}: {commit}')
                elif not isinstance(commits.get(iteration), Commit):
                    commits[iteration] = commit
        return commits, written - commits.keys()

    def _find_faults(self, commit: Commit) -> list[str]:
        """Return the damages of a generation, by rank. Raise if a file is missing."""
        fault: tuple[bool, str] | None = None
        # On another number of ranks, rank 0's file is enough.
        if len(commit.records) == self.size or self.rank == 0:
            try:
                fault = find_fault(self.folder, commit, self.rank)
            except Exception as error:
                fault = False, f'{type(error).__name__}: {error}'
        found = gather_values(self.comm, fault)
        missing = [f'rank {rank}: {each[1]}' for rank, each in enumerate(found) if each and each[0]]
        if missing:
            raise RuntimeError(
                f'the snapshot of iteration {commit.iteration} was complete, and now '
                f'{"; ".join(missing)}. Expected the files of all {len(commit.records)} ranks. '
                'Restore them, or delete all files of this iteration to go on from an older one'
            )
        return [f'rank {rank}: {each[1]}' for rank, each in enumerate(found) if each]

    def _restore(self, trainer: Trainer, commit: Commit) -> None:
        error: Exception | None = None
        state: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        size_before = len(commit.records)
        is_resized = size_before != self.size
        try:
            if self.rank == 0 or not is_resized:
                facts = read_record(snapshot_path(self.folder, commit.iteration, self.rank))
                state = read_arrays(snapshot_path(self.folder, commit.iteration, self.rank), facts)
        except Exception as found:
            error = found
        raise_together(self.comm, error)
        facts_of_rank_0, state_of_rank_0 = from_rank_0(self.comm, (facts, state))
        try:
            if is_resized:
                state, changes = resize_state(trainer, state_of_rank_0, size_before, self.size)
                self._warn(describe_resize(facts_of_rank_0, trainer, self.size, changes))
            else:
                state.update({name: state_of_rank_0[name] for name in facts['from_rank_0']})
            restore_training(trainer, state)
        except Exception as found:
            error = found
        raise_together(self.comm, error)

    def _warn(self, text: str) -> None:
        if self.rank == 0:
            warnings.warn(text, stacklevel=6)
