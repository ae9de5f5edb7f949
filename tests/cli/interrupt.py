"""Ctrl-C, as a terminal presses it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time

from tests.cli.test_train import ENVIRONMENT


def interrupted(command, awaited, cwd=None):
    """What a script does when Ctrl-C is pressed as soon as a file is there.

    Returns status, output, errors and the seconds that it took to end; nobody is left.
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
            deadline = time.monotonic() + 120
            while not awaited.exists() and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            pressed = time.monotonic()
            os.killpg(running.pid, signal.SIGINT)
            errors = running.communicate(timeout=60)[1]
            seconds = time.monotonic() - pressed
            assert not is_left(running.pid, patience=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
        output.seek(0)
        return running.returncode, output.read(), errors, seconds


def is_left(group, patience):
    """Whether a process of the group is there after so many seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True
