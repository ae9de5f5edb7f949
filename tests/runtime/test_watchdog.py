"""The watchdog in one process, and its judgement; real ranks are in tests/distributed."""

import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chainer_ssd import Watchdog
from chainer_ssd.runtime.watchdog import job_status as _verdict
from chainer_ssd.runtime.watchdog import main_thread as _main_thread
from chainer_ssd.runtime.watchdog import watchdog
from chainer_ssd.runtime.watchdog.data_workers import DataWorkers
from chainer_ssd.runtime.watchdog.job_status import Verdict
from chainer_ssd.runtime.watchdog.main_thread import MainThread


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_verdict, 'time', clock)
    return clock


def beat(iteration=5, updates=True, runs=False, waits=False, left=False, place='f (a.py:1)'):
    return {
        'iteration': iteration,
        'updates': updates,
        'runs': runs,
        'waits': waits,
        'left': left,
        'place': place,
    }


def after(clock, verdict, seconds, beats):
    """The verdict after some seconds in which each rank of ``beats`` says so again and again."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 1
        for rank, message in beats.items():
            verdict.hear(rank, message)
        text = verdict.text()
        if text is not None:
            return text
    return None


def test_silence_ends_the_job_after_the_timeout(clock):
    verdict = Verdict(0, 3, 100)
    assert after(clock, verdict, 20, {r: beat(runs=True, updates=False) for r in range(3)}) is None
    rest = {r: beat(runs=True, updates=False) for r in (0, 2)}
    assert after(clock, verdict, 99, rest) is None
    text = after(clock, verdict, 3, rest)
    assert text.startswith('rank 1 has been silent for 10')
    assert 'last seen after iteration 5 in f (a.py:1)' in text


def test_other_ranks_hear_of_rank_0_only(clock):
    verdict = Verdict(2, 3, 100)
    assert after(clock, verdict, 300, {0: beat(), 2: beat()}) is None
    assert after(clock, verdict, 120, {2: beat()}).startswith('rank 0 has been silent')


def test_a_stall_names_who_does_not_wait(clock):
    verdict = Verdict(0, 3, 100)
    waiting = beat(waits=True, place='recv (mpi.py:2)')
    beats = {0: waiting, 1: beat(runs=True, place='loop (b.py:9)'), 2: waiting}
    text = after(clock, verdict, 110, beats)
    assert re.match(
        r'nothing has gone on for 10\d s: rank 1 after iteration 5 in loop \(b.py:9\); '
        r'waiting: ranks 0, 2 after iteration 5 in recv \(mpi.py:2\)$',
        text,
    )


def test_ranks_that_all_wait_are_no_cause_of_each_other(clock):
    text = after(clock, Verdict(0, 2, 100), 110, {0: beat(waits=True), 1: beat(waits=True)})
    assert 'all ranks wait for each other' in text


def test_iterations_evaluation_and_preparation_are_no_stall(clock):
    verdict = Verdict(0, 2, 100)
    for iteration in range(30):  # slow iterations
        assert after(clock, verdict, 50, {0: beat(iteration), 1: beat(iteration)}) is None
    evaluation = {0: beat(30, updates=False, runs=True), 1: beat(30, waits=True)}
    assert after(clock, verdict, 1000, evaluation) is None
    assert after(clock, verdict, 110, {0: beat(30, updates=False), 1: beat(30, waits=True)})


def test_a_suspended_job_is_not_blamed(clock):
    verdict = Verdict(0, 2, 100)
    beats = {0: beat(updates=False, runs=True), 1: beat()}
    for _ in range(5):
        assert after(clock, verdict, 10, beats) is None
        clock.now += 3600
        assert verdict.text() is None


def test_the_first_failure_is_the_cause_and_a_lost_connection_is_one(clock):
    verdict = Verdict(0, 3, 100)
    verdict.hear(1, beat())
    verdict.hear(1, None)
    verdict.hear(2, {'failed': 'rank 2: later'})
    assert verdict.text() == 'rank 1 died without a word; last seen after iteration 5 in f (a.py:1)'


def test_ranks_leave_together(clock):
    verdict = Verdict(0, 2, 100)
    verdict.hear(0, beat(left=True))
    verdict.hear(1, beat())
    assert not verdict.all_left
    verdict.hear(1, beat(left=True))
    assert verdict.all_left and verdict.text() is None


def test_a_thousand_ranks_fit_into_a_message(clock):
    verdict = Verdict(0, 1024, 100)
    text = after(clock, verdict, 110, {r: beat(waits=r != 7) for r in range(1024)})
    assert 'rank 7 after' in text and 'and 1015 more' in text and len(text) < 300


def test_the_main_thread_is_seen_from_another():
    main, seen, stop = MainThread(60), [], threading.Event()

    def look():
        while not stop.wait(0.2):
            seen.append(main.sample())

    def busy():
        while len(seen) < 6:
            sum(range(1000))

    thread = threading.Thread(target=look)
    thread.start()
    busy()
    time.sleep(1)
    stop.set()
    thread.join()
    ran = [look['runs'] for look in seen[1:6]]
    assert sum(ran) > 2 and 'busy' in seen[3]['place']  # others may have had the processor
    assert len(seen) > 8 and not any(look['runs'] for look in seen[8:])
    assert not any(look['waits'] or look['updates'] for look in seen)


@pytest.mark.parametrize('seconds', [10, 1e-5])
def test_busy_at_one_place_is_work_for_so_long_only(monkeypatch, seconds):
    # 10: mpi4py waits so, called from a user's file. 1e-5: it slept, and was woken up, as for each
    # example of a slow data set; Python may give new frames the place of old ones.
    main, clock, cpu = MainThread(60), Clock(), itertools.count(1)
    monkeypatch.setattr(_main_thread, 'time', clock)
    monkeypatch.setattr(_main_thread, 'thread_time', lambda thread: seconds * next(cpu))
    runs = []
    for clock.now in range(100, 300, 10):
        runs.append(main.sample()['runs'])
    assert runs == [True] * 6 + [False] * 14


@pytest.mark.parametrize(('share', 'works'), [(0.01, False), (0.5, True)])
def test_asleep_while_others_work_is_work_for_so_long_only(monkeypatch, share, works):
    main, clock = MainThread(60), Clock()
    monkeypatch.setattr(_main_thread, 'time', clock)
    monkeypatch.setattr(_main_thread, 'thread_time', lambda thread: 1.0)
    monkeypatch.setattr(_main_thread, 'family_time', lambda: share * clock.now)
    runs = []
    for clock.now in range(100, 300, 10):
        runs.append(main.sample()['runs'])
    assert runs == [True, False] + [works] * 4 + [False] * 14  # two looks to compare


WORK = """
def work(_=None):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        sum(range(1000))
"""


@pytest.mark.parametrize(
    'what',
    [
        'multiprocessing.Pool(2).map(work, range(2))',
        'list(ThreadPoolExecutor(2).map(work, range(2)))',
        "subprocess.run([sys.executable, '-c', WORK], check=True)",
    ],
)
def test_what_others_do_for_the_main_thread_is_no_stall(tmp_path, what):
    script = tmp_path / 'script.py'
    script.write_text(
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
                {what}
            print('done')
    """)
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=40,
        env={**os.environ, 'PYTHONPATH': os.getcwd()},
    )
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


def test_idle_helpers_are_no_work():
    main = MainThread(60)
    with multiprocessing.get_context('fork').Pool(2), ThreadPoolExecutor(2) as threads:
        threads.submit(time.sleep, 3)
        looks = []

        def look():
            for _ in range(10):
                time.sleep(0.2)
                looks.append(main.sample()['runs'])

        looker = threading.Thread(target=look)
        looker.start()
        time.sleep(2.5)
        looker.join()
    assert not any(looks[1:]), looks


def test_judging_a_thousand_ranks_costs_little():
    verdict, message = Verdict(0, 1024, 600), beat()
    began = time.process_time()
    for i in range(1000):  # five seconds of a job's heartbeats
        verdict.hear(i, message)
        assert verdict.text() is None
    assert time.process_time() - began < 0.02


@pytest.mark.parametrize('timeout', [0, -1, float('nan')])
def test_a_wrong_timeout_is_named(timeout):
    with pytest.raises(ValueError, match=f'timeout = {timeout}: expected'):
        Watchdog(timeout=timeout)


def test_one_process_ends_as_it_would_without():
    hook = threading.excepthook
    with Watchdog(timeout=60):
        assert threading.excepthook != hook
    assert threading.excepthook == hook
    with pytest.raises(OSError, match='disk'):
        with Watchdog(timeout=60):
            raise OSError('disk')


@pytest.mark.parametrize(
    ('what', 'expected'),
    [
        (
            "threading.Thread(target=lambda: 1 / 0, name='reader').start()",
            'rank 0: thread reader: ZeroDivisionError',
        ),
        (
            'pool = multiprocessing.Pool(2); time.sleep(0.5); os.kill(pool._pool[0].pid, 9)',
            r'rank 0: data worker \d+ died \(SIGKILL\)',
        ),
        ('pass', 'nothing has gone on for 2 s: rank 0 before the training in <module>'),
    ],
)
def test_one_process_is_ended_by_what_would_hang_it(tmp_path, what, expected):
    script = tmp_path / 'script.py'
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing, os, threading, time
        from chainer_ssd import Watchdog
        if __name__ == '__main__':
            with Watchdog(timeout=2):
                {what}
                time.sleep(60)
    """)
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=40,
        env={**os.environ, 'PYTHONPATH': os.getcwd()},
    )
    assert done.returncode == 1
    assert re.search(f'^watchdog on rank 0: {expected}', done.stderr, re.MULTILINE), done.stderr


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
            time.sleep(60)
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
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.stderr.close()


def test_a_message_with_a_file_name_that_is_no_text_is_said(capfd):
    watchdog._say(f'broken: {os.fsdecode(bytes([255]))}.jpg\n')
    assert capfd.readouterr().err == 'broken: \\udcff.jpg\n'


def started(target, *args):
    worker = multiprocessing.get_context('fork').Process(target=target, args=args, daemon=True)
    worker.start()
    return worker


def test_a_death_is_told_once():
    workers = DataWorkers()
    worker, other = started(time.sleep, 60), started(time.sleep, 60)
    assert workers.deaths() == []
    worker.kill()
    other.terminate()  # as a pool ends its workers
    worker.join(), other.join()
    assert workers.deaths() == [f'data worker {worker.pid} died (SIGKILL)']
    assert workers.deaths() == []


def test_a_worker_that_was_closed_is_no_failure():
    workers, worker = DataWorkers(), started(time.sleep, 0.2)
    assert workers.deaths() == [] and workers._known
    worker.join()
    worker.close()
    assert workers.deaths() == [] and not workers._known


def test_an_exception_is_described_on_one_line_that_reaches_all_ranks():
    assert watchdog._described(TypeError('no\n\nExpect: 3\nActual: 4')) == (
        'TypeError: no Expect: 3 Actual: 4'
    )
    assert watchdog._described(SystemExit()) == 'SystemExit'
    text = watchdog._described(ValueError('x ' * 10_000_000))  # more than sockets hold
    assert text.startswith('ValueError: x x') and text.endswith('...') and len(text) < 1100


def test_leaving_takes_no_time():
    began = time.monotonic()
    with Watchdog(timeout=600):
        pass
    assert time.monotonic() - began < 0.5  # not until the next heartbeat


def test_a_fork_leaves_the_block_alone(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        textwrap.dedent("""
        import os
        from chainer_ssd import Watchdog
        with Watchdog(timeout=60):
            child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """)
    )
    subprocess.run(
        [sys.executable, script],
        check=True,
        timeout=20,
        env={**os.environ, 'PYTHONPATH': os.getcwd()},
    )


def test_what_is_left_in_the_block_is_closed():
    def open_files():
        return len(os.listdir('/proc/self/fd'))

    def watched():
        with Watchdog(timeout=60) as watchdog:
            pass
        watchdog._thread.join()

    watched()
    before = open_files()
    for _ in range(3):
        watched()
    assert open_files() <= before
