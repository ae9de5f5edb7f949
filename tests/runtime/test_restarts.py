"""A job that is started again after a failure."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chainer_ssd.runtime import JobStart, restarts, run_with_restarts
from chainer_ssd.runtime.job_process import JOB_VARIABLE, MAX_LINE_BYTES, N_LINE
from tests.conftest import PYTHONPATH

#: The first statements of every job. It counts its starts in the file ``starts``.
PROLOGUE = """
import os, signal, subprocess, sys, time
open('starts', 'a').write('x')
n_start = len(open('starts').read())
def wait_for_signal(numbers):
    for number in numbers:
        signal.signal(number, lambda number, frame: open('got', 'a').write(f'{number} '))
    open('ready', 'w').close()
    time.sleep(0.2)
    while not os.path.exists('got'): time.sleep(0.01)
"""
WAIT_SECONDS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restarts, 'FIRST_DELAY_SECONDS', 0.05)


def run(code, max_restarts=3, **options):
    """Runs a job of a few lines of Python."""
    options = {'is_final': lambda start: False, 'report': lambda text: None, **options}
    return run_with_restarts(
        lambda: [sys.executable, '-S', '-c', PROLOGUE + code],
        max_restarts,
        measure_progress=lambda: os.path.getsize('starts'),
        find_cause=lambda status, lines: lines[-1] if lines else None,
        **options,
    )


def wait_for(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def send_when_ready(*numbers, path='ready'):
    """Sends signals to this process as soon as the job runs."""

    def send():
        if wait_for(lambda: os.path.exists(path)):
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.1)  # a pending signal would not be delivered twice

    threading.Thread(target=send, daemon=True).start()


def is_alive(process):
    try:
        with open(f'/proc/{process}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_a_job_is_started_until_it_succeeds():
    reports = []
    code = 'print("broken", n_start, file=sys.stderr); sys.exit(3 if n_start < 3 else 0)'
    result = run(code, report=reports.append)
    assert result.status == 0
    assert [start._replace(seconds=0) for start in result.starts] == [
        JobStart(3, 0, 1, 'broken 1'),
        JobStart(3, 0, 2, 'broken 2'),
        JobStart(0, 0, 3, 'broken 3'),
    ]
    assert all(0 < start.seconds < WAIT_SECONDS for start in result.starts)
    assert reports[1] == (
        'start 2 ended with status 3 after 0 s: broken 2. Restart 2 of at most 3 in 0.1 s'
    )


@pytest.mark.parametrize(
    ('end', 'status'),
    [('sys.exit(7)', 7), ('os.kill(os.getpid(), signal.SIGKILL)', 128 + signal.SIGKILL)],
)
def test_the_restarts_are_bounded_and_the_last_status_is_returned(end, status):
    result = run(end, max_restarts=2)
    assert result.status == status
    assert [start.status for start in result.starts] == [status] * 3


def test_no_restart_follows_a_final_failure():
    result = run('sys.exit(n_start)', is_final=lambda start: start.status == 2)
    assert result.status == 2 and len(result.starts) == 2


def test_the_delay_grows_to_its_maximum(monkeypatch):
    monkeypatch.setattr(restarts, 'FIRST_DELAY_SECONDS', 0.1)
    monkeypatch.setattr(restarts, 'MAX_DELAY_SECONDS', 0.3)
    reports = []
    began = time.monotonic()
    result = run('sys.exit(1)', report=reports.append)
    between = time.monotonic() - began - sum(start.seconds for start in result.starts)
    assert [text.split(' in ')[1] for text in reports] == ['0.1 s', '0.2 s', '0.3 s']
    assert between >= 0.6


def test_the_output_is_unchanged_and_the_input_is_empty(capfd):
    code = (
        'print("out"); sys.stdout.flush()\n'
        'os.write(2, b"a\\r\\xff\\n\\nno end"); sys.exit(len(sys.stdin.read()))'
    )
    seen = []
    result = run_with_restarts(
        lambda: [sys.executable, '-S', '-c', PROLOGUE + code],
        0,
        lambda: None,
        lambda status, lines: seen.extend(lines),
        lambda start: False,
    )
    assert result.status == 0
    assert capfd.readouterr() == ('out\n', 'a\r�\n\nno end')
    assert seen == ['a', r'\xff', 'no end']


def test_errors_are_forwarded_before_the_line_ends(tmp_path):
    code = f"""
import sys
from chainer_ssd.runtime import run_with_restarts
run_with_restarts(lambda: [sys.executable, '-S', '-c', {PROLOGUE!r} +
    'os.write(2, b"half"); open("ready", "w").close()\\n'
    'while not os.path.exists("got"): time.sleep(0.01)'],
    0, lambda: None, lambda *args: None, lambda start: True)
"""
    env = {**os.environ, 'PYTHONPATH': PYTHONPATH}
    with subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.PIPE, env=env) as running:
        try:
            assert wait_for((tmp_path / 'ready').exists)
            assert os.read(running.stderr.fileno(), 100) == b'half'
        finally:
            (tmp_path / 'got').touch()
    assert running.returncode == 0


def test_the_lines_that_are_kept_are_bounded(capfd):
    code = f'os.write(2, b"x\\n" * {3 * N_LINE}); os.write(2, b"y" * 100000)'
    seen = []
    run_with_restarts(
        lambda: [sys.executable, '-S', '-c', PROLOGUE + code],
        0,
        lambda: None,
        lambda status, lines: seen.extend(lines),
        lambda start: False,
    )
    assert len(capfd.readouterr().err) == 6 * N_LINE + 100000
    assert len(seen) == N_LINE and seen[0] == 'x' and len(seen[-1]) == MAX_LINE_BYTES


@pytest.mark.parametrize('number', restarts.STOP_SIGNALS)
def test_a_signal_is_forwarded_and_no_restart_follows(number):
    before = signal.getsignal(number)
    send_when_ready(number)
    reports = []
    result = run(f'wait_for_signal([{int(number)}]); sys.exit(9)', report=reports.append)
    assert not reports
    assert result.status == 128 + number
    assert [start.status for start in result.starts] == [9]
    assert Path('got').read_text() == f'{int(number)} '
    assert signal.getsignal(number) is before


def test_a_signal_is_forwarded_as_another_one():
    send_when_ready(signal.SIGTERM)
    result = run('wait_for_signal([10, 15]); sys.exit(9)', send_as={15: 10})
    assert result.status == 143
    assert Path('got').read_text() == '10 '


def test_a_job_that_succeeds_after_a_signal_has_succeeded():
    send_when_ready(signal.SIGTERM)
    assert run('wait_for_signal([15])').status == 0


def test_one_request_that_arrives_twice_is_forwarded_once():
    number = signal.SIGUSR1
    send_when_ready(number, number)
    run(f'wait_for_signal([{int(number)}]); time.sleep(0.3)')
    assert Path('got').read_text() == f'{int(number)} '


def test_a_second_request_is_forwarded(monkeypatch):
    monkeypatch.setattr(restarts, 'REPEAT_SECONDS', 0)
    send_when_ready(signal.SIGTERM)
    send_when_ready(signal.SIGTERM, path='got')
    run('wait_for_signal([15])\nwhile len(open("got").read()) < 6: time.sleep(0.01)')
    assert Path('got').read_text() == '15 15 '


def test_a_job_that_does_not_end_after_a_signal_is_killed():
    send_when_ready(signal.SIGTERM)
    began = time.monotonic()
    code = 'signal.signal(15, signal.SIG_IGN); open("ready", "w").close(); time.sleep(60)'
    result = run(code, stop_seconds=0.3)
    assert 0.3 < time.monotonic() - began < WAIT_SECONDS
    assert result.status == 143 and result.starts[0].status == 128 + signal.SIGKILL


def test_a_signal_between_two_starts_ends_the_job(monkeypatch):
    monkeypatch.setattr(restarts, 'FIRST_DELAY_SECONDS', 60)
    reports = []

    def report(text):
        reports.append(text)
        open('ready', 'w').close()

    send_when_ready(signal.SIGINT)
    began = time.monotonic()
    result = run('sys.exit(1)', report=report)
    assert time.monotonic() - began < WAIT_SECONDS
    assert result.status == 130 and len(result.starts) == len(reports) == 1


def test_a_signal_to_the_group_of_the_caller_does_not_reach_the_job():
    assert run('sys.exit(os.getsid(0) != os.getpid())').status == 0


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        send_when_ready(signal.SIGINT)
        assert run('open("ready", "w").close(); time.sleep(0.3)').status == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_no_process_of_a_start_is_left(monkeypatch):
    """Not one in a session of its own that is stopped, nor one that ignores SIGTERM."""
    monkeypatch.setattr(restarts, 'END_SECONDS', 0.3)
    code = """
sleeper = [sys.executable, '-S', '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); '
           'open("slept", "a").write("x"); time.sleep(100)']
own = subprocess.Popen(sleeper, start_new_session=True)
other = subprocess.Popen(sleeper, stderr=subprocess.DEVNULL)
while not os.path.exists('slept') or len(open('slept').read()) < 2 * n_start: time.sleep(0.01)
own.send_signal(signal.SIGSTOP)
open('left', 'a').write(f'{own.pid} {other.pid} ')
sys.exit(1)
"""
    at_start = []

    def measure(start):
        at_start.append([is_alive(process) for process in Path('left').read_text().split()])
        return False

    run(code, max_restarts=1, is_final=measure)
    assert at_start == [[False] * 2, [False] * 4]


def test_processes_that_end_by_themselves_are_not_killed():
    ending = 'import time; time.sleep(0.3); open("ended", "w").close()'
    run(f"subprocess.Popen([sys.executable, '-S', '-c', {ending!r}])")
    assert os.path.exists('ended')


@pytest.mark.skipif(sys.platform != 'linux', reason='the system kills the job on Linux only')
def test_the_job_dies_with_the_process_that_runs_it(tmp_path):
    code = f"""
import sys
from chainer_ssd.runtime import run_with_restarts
run_with_restarts(lambda: [sys.executable, '-S', '-c', {PROLOGUE!r} +
    'open("pid", "w").write(str(os.getpid())); open("ready", "w").close(); time.sleep(60)'],
    3, lambda: None, lambda *args: None, lambda start: True)
"""
    env = {**os.environ, 'PYTHONPATH': PYTHONPATH}
    running = subprocess.Popen([sys.executable, '-c', code], env=env)
    try:
        assert wait_for((tmp_path / 'ready').exists)
    finally:
        running.kill()
        running.wait()
    process = (tmp_path / 'pid').read_text()
    assert wait_for(lambda: not is_alive(process))


def test_an_error_while_the_job_runs_ends_the_job(monkeypatch):
    monkeypatch.setattr(restarts.JobProcess, 'send', lambda *args: 1 / 0)
    send_when_ready(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError):
        run('open("pid", "w").write(str(os.getpid())); open("ready", "w").close(); time.sleep(60)')
    assert not is_alive(Path('pid').read_text())


def test_the_job_gets_the_environment():
    env = {**os.environ, 'ANSWER': '42', JOB_VARIABLE: 'of another job'}
    code = f'sys.exit(os.environ["ANSWER"] != "42" or len(os.environ["{JOB_VARIABLE}"]) != 32)'
    assert run(code, env=env).status == 0


def test_a_missing_program_is_named():
    with pytest.raises(FileNotFoundError, match='^no_such_launcher: no such program$'):
        run_with_restarts(lambda: ['no_such_launcher'], 1, lambda: None, max, bool)
