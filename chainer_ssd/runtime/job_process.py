"""One start of a job: its processes, its standard error, and its end."""

from __future__ import annotations

import collections
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence

#: Environment variable that all processes of a start inherit, also those in sessions of their own.
JOB_VARIABLE = 'CHAINER_SSD_JOB'
END_SECONDS = 5.0  # for the other processes to end after the launcher has ended
KILL_SECONDS = 10.0  # for the system to remove killed processes
POLL_SECONDS = 0.05
N_LINE, MAX_LINE_BYTES = 2000, 4000  # of the standard error that are kept
_CHUNK_BYTES = 65536
#: Makes the system kill the launcher when its parent ends, and becomes the launcher.
_LINUX_START = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class JobProcess:
    """A job that runs, with all processes that it starts on this host.

    Its standard error is forwarded at once. Its standard input is empty. On Linux it is killed if
    this process is killed.

    Parameters
    ----------
    command : sequence of str
        Command line of the launcher.
    env : mapping of str to str
        Environment of the job.

    Raises
    ------
    FileNotFoundError
        If the command does not exist.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        path = shutil.which(command[0])
        if path is None:
            raise FileNotFoundError(f'{command[0]}: no such program')
        command = [path, *command[1:]]
        if sys.platform == 'linux':
            start = [sys.executable, '-I', '-S', '-c', _LINUX_START, str(os.getpid())]
            command = [*start, *command]
        self._job = uuid.uuid4().hex
        self._process = subprocess.Popen(
            command,
            env={**env, JOB_VARIABLE: self._job},
            stdin=subprocess.DEVNULL,  # a session of its own cannot read the terminal
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._lines: collections.deque[bytes] = collections.deque(maxlen=N_LINE)
        self._reader = threading.Thread(
            target=self._forward_errors, name='standard error', daemon=True
        )
        self._reader.start()

    def is_running(self) -> bool:
        """Return whether the launcher runs."""
        return self._process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal to the launcher, which forwards it to its ranks."""
        self._process.send_signal(number)

    def end(self, seconds: float = 0) -> int:
        """End all processes of the job that are left, and return the status of the launcher.

        Parameters
        ----------
        seconds : float
            Time that they have to end by themselves. Then they are killed. Default: 0.

        Returns
        -------
        int
            Exit status as shells report it: 128 plus the number after a signal.
        """
        self._wait(seconds)
        deadline = time.monotonic() + KILL_SECONDS
        while self._is_left() and time.monotonic() < deadline:
            for process in self._find_processes():
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        self._reader.join(KILL_SECONDS)
        status = self._process.poll()
        if status is None:  # the system does not remove it
            return 128 + signal.SIGKILL
        return status if status >= 0 else 128 - status

    def error_lines(self) -> list[str]:
        """Return the last lines of the standard error. Call it after :meth:`end`."""
        return [line.decode(errors='backslashreplace') for line in tuple(self._lines)]

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._is_left():
            time.sleep(POLL_SECONDS)

    def _is_left(self) -> bool:
        if self.is_running() or self._find_processes():
            return True
        try:
            os.killpg(self._process.pid, 0)
        except OSError:  # the group is empty
            return False
        return sys.platform != 'linux'  # on Linux, it holds zombies only

    def _find_processes(self) -> list[int]:
        """Return the processes on this host that have the job's variable. Linux only."""
        entry, found = f'{JOB_VARIABLE}={self._job}'.encode(), []
        for path in glob.glob('/proc/[0-9]*/environ'):
            # The process may have ended, or belong to somebody else.
            with contextlib.suppress(OSError), open(path, 'rb') as file:
                if entry in file.read().split(b'\0'):
                    found.append(int(path.split('/')[2]))
        return found

    def _forward_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            rest = b''
            while True:
                chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
                if not chunk:
                    break
                _write_all(chunk)
                *lines, rest = (rest + chunk).replace(b'\r', b'\n').split(b'\n')
                self._lines.extend(line[:MAX_LINE_BYTES] for line in lines if line.strip())
                rest = rest[:MAX_LINE_BYTES]
            if rest.strip():
                self._lines.append(rest)


def _write_all(chunk: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads. The job must not block.
        while chunk:
            chunk = chunk[os.write(2, chunk) :]
