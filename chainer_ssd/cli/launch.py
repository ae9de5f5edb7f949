"""Train on N ranks, and start again from the newest snapshot after a failure.

    chainer-ssd launch -n 4 -- train --dataset voc --root path/to/BCCD --batchsize 2
    chainer-ssd launch -n 8 --launcher-args '-f hosts' -- train --gpu 0

--communicator is naive, or pure_nccl with --gpu, unless you give one. The training continues from
the snapshots in --out, as with --resume auto, unless you give --resume or --overwrite. These two
hold until the job has written its first snapshot.

Each failure takes one of the --max-restarts, whether snapshots were written or not. No restart
follows Ctrl-C, SIGTERM, SIGUSR1, or a mistake in the options. At the end the starts are listed with
their causes. The exit status is that of the last start.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from chainer_ssd._options import check_positive_number
from chainer_ssd.cli import train
from chainer_ssd.cli._arguments import (
    INTERRUPTED_STATUS,
    USER_ERROR_STATUS,
    exit_in_one_line,
    integer,
    number,
)
from chainer_ssd.cli._environment import THREAD_VARIABLES
from chainer_ssd.runtime import JobStart, newest_snapshot, run_with_restarts, snapshot_files

STOP_SECONDS, N_RESTART = 120.0, 3
#: The options that a job on many ranks needs. The user's own ones come first.
SRUN = 'srun', '--mpi=pmi2', '--kill-on-bad-exit=1', '--disable-status'
SRUN_SIGNALS: dict[int, int] = {
    signal.SIGTERM: signal.SIGUSR1
}  # srun kills the ranks at once on SIGTERM
STOP_STATUSES = INTERRUPTED_STATUS, 138, 143  # after Ctrl-C, SIGUSR1, SIGTERM
STOP_MESSAGE = r'interrupted|terminated|stopped by SIG'
#: Lines of the standard error that give the cause of a failure. The first that is found counts.
CAUSE_PATTERNS = (
    r'watchdog on rank \d+: (.+)',
    rf'chainer-ssd train: (?:error: )?((?<=error: ).+|(?:{STOP_MESSAGE}).*)',
    r'\w+ noticed that (process rank .+)',  # Open MPI
    r'([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*)',  # an exception of Python
    r'srun: error: (.+)',
)
MAX_CAUSE_LETTERS, MAX_WORD_LETTERS = 300, 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd launch``."""
    parser.usage = '%(prog)s -n N [options] -- train ...'
    add = parser.add_argument
    add('-n', type=integer(1), required=True, dest='size', metavar='N', help='number of ranks')
    add(
        '--max-restarts',
        type=integer(0),
        default=N_RESTART,
        metavar='M',
        help='how often the job is started again after a failure. Raise it for a long job on '
        'unreliable hosts. (default: %(default)s)',
    )
    add(
        '--launcher',
        choices=('mpiexec', 'srun'),
        help='program that starts the ranks. Give it if the default is not the one of your MPI. '
        '(default: srun in a job of Slurm, else mpiexec)',
    )
    add(
        '--launcher-args',
        type=shlex.split,
        metavar='ARGS',
        help='further options of the launcher in one string, such as --launcher-args=--mpi=pmix. '
        '(default: none)',
    )
    add(
        '--stop-timeout',
        type=number(check_positive_number),
        default=STOP_SECONDS,
        metavar='SECONDS',
        help='time that the job has to end after a signal. Then it is killed. Raise it if an '
        'iteration or a snapshot takes longer. (default: %(default)g)',
    )
    add('job', nargs='+', metavar='-- train ...', help='the training, as without launch')


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Start the job until it succeeds, and list the starts."""
    if args.job[0] != 'train':
        found = shlex.join(args.job)[:MAX_WORD_LETTERS]
        parser.error(f'after --: expected train and its options, found {found!r}')
    train_parser = argparse.ArgumentParser(prog='chainer-ssd train')
    train.add_arguments(train_parser)
    train_args = train_parser.parse_args(args.job[1:])
    with exit_in_one_line(parser):
        launcher = find_launcher_command(args.launcher, args.size)
        result = run_with_restarts(
            TrainCommand([*launcher, *(args.launcher_args or ())], args.job, train_args),
            args.max_restarts,
            functools.partial(newest_snapshot, train_args.out),
            find_cause,
            is_final,
            lambda text: print(f'{parser.prog}: {text}', file=sys.stderr, flush=True),
            create_environment(args.size, train_args.gpu),
            args.stop_timeout,
            SRUN_SIGNALS if launcher[0] == 'srun' else None,
        )
    if result.status or len(result.starts) > 1:
        print(format_starts(result.starts), file=sys.stderr)
    parser.exit(result.status)


class TrainCommand:
    """Creates the command line of the next start.

    Parameters
    ----------
    launcher : list of str
        Program that starts the ranks, with its options.
    words : list of str
        ``train`` and its options, as the user gave them.
    args : argparse.Namespace
        The same options, parsed.
    """

    def __init__(self, launcher: list[str], words: list[str], args: argparse.Namespace) -> None:
        self._out = args.out
        self._first = [*launcher, sys.executable, '-m', 'mpi4py', '-m', 'chainer_ssd', *words]
        if args.communicator is None:
            self._first += ['--communicator', 'naive' if args.gpu < 0 else 'pure_nccl']
        kept = [word for word in self._first if not is_overwrite(word)]
        self._next = [*kept, '--resume', 'auto']
        if args.resume is None and not args.overwrite:
            self._first = self._next
        self._files_before = list_snapshots(args.out)

    def __call__(self) -> list[str]:
        """Return the command line. It resumes as soon as the job itself has a snapshot."""
        is_own = bool(list_snapshots(self._out) - self._files_before)
        return self._next if is_own and newest_snapshot(self._out) is not None else self._first


def is_overwrite(word: str) -> bool:
    """Return whether a word of the command line is ``--overwrite``, perhaps abbreviated."""
    return word.startswith('--ov') and '--overwrite'.startswith(word)


def list_snapshots(folder: str) -> set[tuple[str, int]]:
    """Return the path and the time of each snapshot file."""
    return {(path, os.stat(path).st_mtime_ns) for path in snapshot_files(folder)}


def find_launcher_command(name: str | None, size: int) -> list[str]:
    """Return the program that starts the ranks, with the options that it needs.

    Raises
    ------
    ImportError
        If MPI is not installed.
    """
    if importlib.util.find_spec('mpi4py') is None:
        raise ImportError('mpi4py is missing: pip install "chainer_ssd[mpi]"')
    if name is None:
        is_slurm = 'SLURM_JOB_ID' in os.environ and shutil.which('srun')
        name = 'srun' if is_slurm else 'mpiexec'
    if name == 'srun':
        if shutil.which('srun') is None:
            raise ImportError('srun is missing. Give --launcher mpiexec outside Slurm')
        return [*SRUN, '-n', str(size)]
    beside = Path(sys.executable).with_name('mpiexec')
    command = str(beside) if beside.exists() else shutil.which('mpiexec')
    if command is None:
        raise ImportError('mpiexec is missing: pip install "chainer_ssd[mpi]"')
    return [command, '-n', str(size)]


def create_environment(size: int, gpu: int) -> dict[str, str]:
    """Return the environment of the ranks: one thread each if several compute on CPUs."""
    limits = dict.fromkeys(THREAD_VARIABLES, '1')
    has_limit = any(map(os.environ.get, THREAD_VARIABLES))
    return {**os.environ, **(limits if size > 1 and gpu < 0 and not has_limit else {})}


def find_cause(status: int, lines: Sequence[str]) -> str | None:
    """Return the cause of a failure, from the exit status and the last lines of the errors."""
    for pattern in CAUSE_PATTERNS:
        found = [match[1] for match in map(re.compile(pattern).match, lines) if match]
        if found:
            # The other ranks repeat what the first one has reported.
            cause = found[0 if pattern.startswith('watchdog') else -1]
            return ' '.join(cause.split())[:MAX_CAUSE_LETTERS]
    number = status - 128 if status > 128 else status  # MPICH returns the signal alone
    names = {int(each): each.name for each in signal.Signals if each > USER_ERROR_STATUS}
    return f'ended by {names[number]}' if number in names else None


def is_final(start: JobStart) -> bool:
    """Return whether a restart is useless, or not what the user wants.

    Slurm also ends ranks with the status of SIGTERM after a failure of another rank, so the
    training's own message is required.
    """
    is_stopped = re.match(STOP_MESSAGE, start.cause or '') is not None
    return start.status == USER_ERROR_STATUS or (start.status in STOP_STATUSES and is_stopped)


def format_starts(starts: Sequence[JobStart]) -> str:
    """Return one line per start: its status, seconds, newest snapshot, and cause."""
    rows = [('start', 'status', 'seconds', 'snapshot', 'cause')]
    for i, start in enumerate(starts, 1):
        progress = 'none' if start.progress is None else str(start.progress)
        cause = '-' if start.status == 0 else start.cause or 'no message'
        rows.append((str(i), str(start.status), f'{start.seconds:.1f}', progress, cause))
    return '\n'.join(f'{a:>5}  {b:>6}  {c:>8}  {d:>8}  {e}' for a, b, c, d, e in rows)
