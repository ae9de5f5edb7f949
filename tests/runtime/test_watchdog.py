"""The watchdog in one process. Tests with real ranks: tests/distributed."""

import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest

from chainer_ssd import Watchdog
from chainer_ssd.runtime.watchdog import watchdog
from chainer_ssd.runtime.watchdog.error_text import describe_error
from chainer_ssd.runtime.watchdog.process_exit import print_error


def run_script(path, text, **env):
    """Run a script and return the completed process."""
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHONPATH': os.getcwd(), **env},
    )


WORK = """
def work(_=None):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        sum(range(1000))
"""


@pytest.mark.parametrize(
    'call',
    [
        'multiprocessing.Pool(2).map(work, range(2))',
        'list(ThreadPoolExecutor(2).map(work, range(2)))',
        "subprocess.run([sys.executable, '-c', WORK], check=True)",
    ],
)
def test_work_of_threads_and_children_is_no_stall(tmp_path, call):
    done = run_script(
        tmp_path / 'script.py',
        f'WORK = {"import time" + WORK + "work()"!r}'
        + textwrap.dedent("""
        import multiprocessing, subprocess, sys, time
        from concurrent.futures import ThreadPoolExecutor
        from chainer_ssd import Watchdog
    """)
        + WORK
        + textwrap.dedent(f"""
        if __name__ == '__main__':
            with Watchdog(timeout=2):
                {call}
            print('done')
    """),
    )
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


@pytest.mark.parametrize('timeout', [0, -1, float('nan'), float('inf'), '600'])
def test_a_wrong_timeout_is_named(timeout):
    with pytest.raises(ValueError, match=re.escape(f'timeout = {timeout!r}: expected')):
        Watchdog(timeout=timeout)


def test_one_process_ends_as_without_a_watchdog():
    hook = threading.excepthook
    with Watchdog(timeout=60):
        assert threading.excepthook != hook
    assert threading.excepthook == hook
    with pytest.raises(OSError, match='disk'):
        with Watchdog(timeout=60):
            raise OSError('disk')


@pytest.mark.parametrize(
    ('call', 'expected'),
    [
        (
            "threading.Thread(target=lambda: 1 / 0, name='reader').start()",
            'rank 0: thread reader: ZeroDivisionError',
        ),
        (
            'pool = multiprocessing.Pool(2); time.sleep(0.5); os.kill(pool._pool[0].pid, 9)',
            r'rank 0: data worker \d+ died \(SIGKILL\)',
        ),
        ('pass', 'no progress for 2 s: rank 0 before the training in <module>'),
    ],
)
def test_one_process_is_ended_if_it_would_block_for_ever(tmp_path, call, expected):
    done = run_script(
        tmp_path / 'script.py',
        f"""
        import multiprocessing, os, threading, time
        from chainer_ssd import Watchdog
        if __name__ == '__main__':
            with Watchdog(timeout=2):
                {call}
                time.sleep(3600)
    """,
    )
    assert done.returncode == 1
    assert re.search(f'^watchdog on rank 0: {expected}', done.stderr, re.MULTILINE), done.stderr


def test_a_busy_call_of_a_script_in_a_folder_called_chainermn_is_work(tmp_path):
    folder = tmp_path / 'chainermn'
    folder.mkdir()
    done = run_script(
        folder / 'script.py',
        """
        import hashlib, time
        from chainer_ssd import Watchdog

        def work(n):
            hashlib.pbkdf2_hmac('sha256', b'', b'', n)  # one call outside of Python

        began = time.monotonic()
        work(300_000)
        n_per_second = 300_000 / (time.monotonic() - began)
        with Watchdog(timeout=1):
            work(int(3 * n_per_second))
        print('done')
    """,
    )
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


@pytest.mark.parametrize('reader', ['gone', 'frozen'])
def test_a_launcher_that_does_not_read_keeps_no_rank_alive(tmp_path, reader):
    script = tmp_path / 'script.py'
    script.write_text(
        textwrap.dedent("""
        import os, time
        from chainer_ssd import Watchdog
        with Watchdog(timeout=1):
            if os.environ['READER'] == 'frozen':
                os.set_blocking(2, False)
                try:
                    while True:
                        os.write(2, b'x' * 100)
                except BlockingIOError:
                    os.set_blocking(2, True)
            time.sleep(3600)
    """)
    )
    process = subprocess.Popen(
        [sys.executable, script],
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': os.getcwd(), 'READER': reader},
    )
    if reader == 'gone':
        process.stderr.close()
    try:
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_file_name_that_is_no_unicode_is_printed(capfd):
    print_error(f'broken: {os.fsdecode(bytes([255]))}.jpg')
    assert capfd.readouterr().err == 'broken: \\udcff.jpg\n'


def test_an_exception_is_described_on_one_line_that_fits_into_a_message():
    assert describe_error(TypeError('no\n\nExpect: 3\nActual: 4')) == (
        'TypeError: no Expect: 3 Actual: 4'
    )
    assert describe_error(SystemExit()) == 'SystemExit'
    text = describe_error(ValueError('x ' * 10_000_000))
    assert text.startswith('ValueError: x x') and text.endswith('...') and len(text) < 1100


def test_the_end_of_a_block_needs_no_heartbeat(monkeypatch):
    monkeypatch.setattr(watchdog, 'MAX_HEARTBEATS_PER_SECOND', 1 / 3600)

    def enter_and_leave():
        with Watchdog(timeout=1e6) as dog:
            assert dog.interval == 3600

    thread = threading.Thread(target=enter_and_leave, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_fork_does_not_disturb_the_block(tmp_path):
    done = run_script(
        tmp_path / 'script.py',
        """
        import os
        from chainer_ssd import Watchdog
        with Watchdog(timeout=60):
            child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """,
    )
    assert done.returncode == 0, done.stderr


def test_the_end_of_a_block_closes_all_files():
    def open_files():
        return len(os.listdir('/proc/self/fd'))

    def enter_and_leave():
        with Watchdog(timeout=60) as dog:
            pass
        dog._thread.join()

    enter_and_leave()
    before = open_files()
    for _ in range(3):
        enter_and_leave()
    assert open_files() <= before
