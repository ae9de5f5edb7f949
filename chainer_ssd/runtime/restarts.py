"""A job that is started again after a failure."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from chainer_ssd.runtime.job_process import END_SECONDS, POLL_SECONDS, JobProcess

#: Time between two starts. It is doubled for each further one.
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 60.0
#: Time that a job has after a signal. Then it is killed.
STOP_SECONDS = 120.0
#: Signals that are forwarded to the job. No restart follows.
STOP_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
REPEAT_SECONDS = 1.0  # launchers and process groups deliver one request several times


class JobStart(NamedTuple):
    """One start of a job, after its end."""

    #: Exit status of the launcher as shells report it: 128 plus the number after a signal.
    status: int
    #: Time from its start to its end.
    seconds: float
    #: What ``measure_progress`` returned after its end, such as an iteration.
    progress: int | None
    #: What ``find_cause`` returned after its end.
    cause: str | None


class JobResult(NamedTuple):
    """A job after its last start."""

    #: Exit status of the last start, or 128 plus the number of the signal that has ended the job.
    status: int
    #: All starts, in order.
    starts: list[JobStart]


def run_with_restarts(
    create_command: Callable[[], Sequence[str]],
    max_restarts: int,
    measure_progress: Callable[[], int | None],
    find_cause: Callable[[int, Sequence[str]], str | None],
    is_final: Callable[[JobStart], bool],
    report: Callable[[str], None] = print,
    env: Mapping[str, str] | None = None,
    stop_seconds: float = STOP_SECONDS,
    send_as: Mapping[int, int] | None = None,
) -> JobResult:
    """Run a job, and start it again after a failure.

    Every failure counts, also after progress. Between two starts there are 1, 2, 4, ... seconds,
    at most 60. After each start, all of its processes on this host are ended. On Linux these also
    are processes in sessions of their own, and stopped ones.

    SIGINT, SIGTERM and SIGUSR1 are forwarded to the job, and no restart follows. Ignored signals
    stay ignored. Call the function in the main thread.

    Parameters
    ----------
    create_command : callable
        Called before each start. Returns the command line, for example of ``mpiexec``.
    max_restarts : int
        Largest number of starts after the first one.
    measure_progress : callable
        Called after each start. Returns a number that grows if the job has done something, such as
        :func:`newest_snapshot` of its folder, or None.
    find_cause : callable
        Called after each start with its exit status and the last lines of its standard error.
        Returns the cause of the failure in one line, or None.
    is_final : callable
        Whether no restart follows a start that has failed, because it would fail alike or because
        somebody has ended it.
    report : callable
        Called with one line before each restart. Default: ``print``.
    env : mapping of str to str, optional
        Environment of the job. Default: that of this process.
    stop_seconds : float
        Time that the job has after a signal. Then it is killed. Default: 120.
    send_as : mapping of int to int, optional
        Signals that are forwarded as another one, because the launcher does not forward them.
        Default: none.

    Returns
    -------
    JobResult
        The exit status and all starts.

    Raises
    ------
    FileNotFoundError
        If the program of the command line does not exist.
    """
    starts: list[JobStart] = []
    with _received_signals() as received:
        while True:
            started = time.monotonic()
            status, lines = _run_once(create_command(), env, received, stop_seconds, send_as or {})
            seconds = time.monotonic() - started
            starts.append(JobStart(status, seconds, measure_progress(), find_cause(status, lines)))
            if status == 0 or received or is_final(starts[-1]) or len(starts) > max_restarts:
                break
            delay = min(FIRST_DELAY_SECONDS * 2 ** (len(starts) - 1), MAX_DELAY_SECONDS)
            report(
                f'start {len(starts)} ended with status {status} after {seconds:.0f} s: '
                f'{starts[-1].cause or "no message"}. Restart {len(starts)} of at most '
                f'{max_restarts} in {delay:g} s'
            )
            deadline = time.monotonic() + delay
            while not received and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if received:
                break
    status = starts[-1].status
    return JobResult(128 + received[0] if received and status else status, starts)


def _run_once(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    received: list[int],
    stop_seconds: float,
    send_as: Mapping[int, int],
) -> tuple[int, list[str]]:
    """Return the exit status and the last lines of the standard error of one start."""
    job = JobProcess(command, os.environ if env is None else env)
    grace, n_sent, deadline = 0.0, 0, float('inf')
    try:
        while job.is_running() and time.monotonic() < deadline:
            if n_sent < len(received):
                deadline = min(deadline, time.monotonic() + stop_seconds)
                job.send(send_as.get(received[n_sent], received[n_sent]))
                n_sent += 1
            time.sleep(POLL_SECONDS)
        grace = 0.0 if job.is_running() else END_SECONDS
    finally:
        status = job.end(grace)
    return status, job.error_lines()


@contextlib.contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Collect the signals that end the job. A repetition within a second is one request."""
    received: list[int] = []
    times: dict[int, float] = {}

    def handle(number: int, frame: Any) -> None:
        now = time.monotonic()
        if now >= times.get(number, -float('inf')) + REPEAT_SECONDS:
            received.append(number)
        times[number] = now

    before = {}
    for number in STOP_SIGNALS:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            before[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
