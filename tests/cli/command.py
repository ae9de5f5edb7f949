"""The command in a process of its own, also ended by a signal."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time

from tests.conftest import PYTHONPATH

ENVIRONMENT = {**os.environ, 'PYTHONPATH': PYTHONPATH, 'OPENBLAS_NUM_THREADS': '1'}
COMMAND = ['-m', 'chainer_ssd']
LABEL_NAMES = ('blue', 'red')
TINY = ['--insize', '32', '--batchsize', '4', '--iteration', '8', '--snapshot-interval', '3']
START_SECONDS, END_SECONDS = 120, 60


def run_command(*args, env=ENVIRONMENT, cwd=None):
    """Runs ``chainer-ssd`` to its end and returns the completed process."""
    command = [sys.executable, *COMMAND, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=240)


def interrupt(command, awaited, cwd=None, signal_number=signal.SIGINT):
    """Runs a Python command line and sends a signal to it when the file ``awaited`` exists.

    Returns status, output, errors, and the seconds from the interrupt to the end. No process of
    the command is left.
    """
    with tempfile.TemporaryFile('w+') as output:
        running = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=cwd,
            env=ENVIRONMENT,
            text=True,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.PIPE,
        )
        try:
            wait_for(awaited, running)
            pressed = time.monotonic()
            os.killpg(running.pid, signal_number)
            errors = running.communicate(timeout=END_SECONDS)[1]
            seconds = time.monotonic() - pressed
            assert not is_left(running.pid, seconds=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
        output.seek(0)
        return running.returncode, output.read(), errors, seconds


def wait_for(path, running):
    """Waits until a file exists, the process ends, or the time is over."""
    deadline = time.monotonic() + START_SECONDS
    while not path.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def is_left(group, seconds):
    """Returns whether a process of the group still exists after some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True
