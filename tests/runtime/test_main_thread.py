"""States of the main thread that another thread finds."""

import itertools
import multiprocessing
import os
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import chainer_ssd.distributed
from chainer_ssd.runtime.watchdog import communication_code, main_thread
from chainer_ssd.runtime.watchdog.communication_code import find_communication_directories
from chainer_ssd.runtime.watchdog.main_thread import MainThread

DEADLINE_SECONDS = 60


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def samples_during(call, name, n=1, updater=None):
    """Run ``call(stop)`` and return n samples of it, from its first frame ``name`` on.

    ``call`` must return when ``stop`` is set.
    """
    sampler, samples, stop = MainThread(60), [], threading.Event()
    sampler.updater = updater

    def sample():
        end = time.monotonic() + DEADLINE_SECONDS
        try:
            while len(samples) < n and time.monotonic() < end:
                found = sampler.sample()
                if samples or f'{name} (' in found['place']:
                    samples.append(found)
                time.sleep(0.1)
        finally:
            stop.set()

    thread = threading.Thread(target=sample)
    thread.start()
    call(stop)
    thread.join()
    assert len(samples) == n
    return samples


def busy(stop):
    while not stop.is_set():
        sum(range(1000))


def idle(stop):
    stop.wait(DEADLINE_SECONDS)


def test_a_busy_main_thread_is_active():
    samples = samples_during(busy, 'busy', 6)
    assert sum(sample['active'] for sample in samples) > 2  # others may have had the processor
    assert not any(sample['blocked'] or sample['in_update'] for sample in samples)
    assert all('busy (test_main_thread.py:' in sample['place'] for sample in samples)


def test_a_sleeping_main_thread_is_not_active():
    samples = samples_during(idle, 'idle', 6)
    assert not any(sample['active'] for sample in samples[2:])
    assert not any(sample['blocked'] or sample['in_update'] for sample in samples)


def test_iteration_and_update_of_the_updater():
    class Updater:
        iteration = 7

        def update(self, stop):
            stop.wait(DEADLINE_SECONDS)

    updater = Updater()
    (sample,) = samples_during(updater.update, 'update', updater=updater)
    assert sample['in_update'] and sample['iteration'] == 7
    (sample,) = samples_during(idle, 'idle')
    assert not sample['in_update'] and sample['iteration'] is None


def test_idle_threads_and_children_are_no_work():
    with multiprocessing.get_context('fork').Pool(2), ThreadPoolExecutor(2) as threads:
        stopped = threading.Event()
        threads.submit(stopped.wait, DEADLINE_SECONDS)
        samples = samples_during(idle, 'idle', 10)
        stopped.set()
    assert not any(sample['active'] for sample in samples[2:]), samples


def still_thread(monkeypatch):
    """Return a sampler of a thread that stays at one instruction."""
    sampler = MainThread(60)
    # The sampler runs in the thread that it samples here, so its own calls would be new each time.
    stack = sampler._read_stack()
    monkeypatch.setattr(sampler, '_read_stack', lambda: stack)
    return sampler


@pytest.mark.parametrize('seconds', [10, 1e-5])
def test_busy_at_one_instruction_is_active_for_a_limited_time(monkeypatch, seconds):
    # 10: MPI blocks like this if a user's file calls mpi4py. 1e-5: the thread sleeps and is woken
    # up, once per example of a slow data set. A new frame may have the address of an old one.
    sampler, clock, cpu = still_thread(monkeypatch), Clock(), itertools.count(1)
    monkeypatch.setattr(main_thread, 'time', clock)
    monkeypatch.setattr(main_thread, 'thread_time', lambda thread: seconds * next(cpu))
    active = []
    for clock.now in range(100, 300, 10):
        active.append(sampler.sample()['active'])
    assert active == [True] * 6 + [False] * 14


@pytest.mark.parametrize(('load', 'is_work'), [(0.01, False), (0.5, True)])
def test_asleep_while_others_work_is_active_for_a_limited_time(monkeypatch, load, is_work):
    sampler, clock = still_thread(monkeypatch), Clock()
    monkeypatch.setattr(main_thread, 'time', clock)
    monkeypatch.setattr(main_thread, 'thread_time', lambda thread: 1.0)
    monkeypatch.setattr(main_thread, 'family_time', lambda: load * clock.now)
    active = []
    for clock.now in range(100, 300, 10):
        active.append(sampler.sample()['active'])
    # A load needs two samples.
    assert active == [True, False] + [is_work] * 4 + [False] * 14


def function_in_file(path, name, body):
    """Return a function ``name(stop)`` whose code belongs to the file ``path``."""
    namespace = {'DEADLINE_SECONDS': DEADLINE_SECONDS}
    exec(compile(f'def {name}(stop):\n    {body}', str(path), 'exec'), namespace)
    return namespace[name]


def file_of(package):
    """Return a file of the package that exists, because coverage looks for its source."""
    return Path(communication_code.importlib.util.find_spec(package).origin)


@pytest.mark.parametrize('package', ['chainermn', 'mpi4py', 'chainer_ssd.distributed'])
def test_code_of_a_package_that_communicates_is_blocked(package):
    if package == 'mpi4py':
        pytest.importorskip('mpi4py')
    # The innermost Python frame belongs to the package: Event.is_set is Python code, and a lock
    # that is acquired in C is not.
    lock = threading.Lock()
    lock.acquire()
    block = function_in_file(file_of(package), 'block', 'stop.acquire(True, 60)')

    def block_until(stop):
        threading.Thread(target=lambda: (stop.wait(DEADLINE_SECONDS), lock.release())).start()
        block(lock)

    samples = samples_during(block_until, 'block', 4)
    assert all(sample['blocked'] for sample in samples)
    assert not any(sample['active'] for sample in samples[2:])


@pytest.mark.parametrize('folder', ['chainermn', 'mpi4py', 'chainer_ssd/distributed'])
def test_a_busy_script_in_a_folder_of_the_same_name_is_not_blocked(tmp_path, folder):
    loop = function_in_file(tmp_path / folder / 'train.py', 'loop', 'while not stop: pass')

    def loop_until(stop):
        stops = []
        threading.Thread(target=lambda: (stop.wait(DEADLINE_SECONDS), stops.append(True))).start()
        loop(stops)

    samples = samples_during(loop_until, 'loop', 6)
    assert not any(sample['blocked'] for sample in samples)
    assert sum(sample['active'] for sample in samples) > 2


def test_directories_are_those_of_the_packages():
    directories = find_communication_directories()
    assert os.path.dirname(os.path.realpath(chainer_ssd.distributed.__file__)) in directories
    assert str(file_of('chainermn').parent.resolve()) in directories
    assert all(os.path.isdir(directory) for directory in directories)


def test_directories_are_found_without_importing(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mpi4py', raising=False)
    pytest.importorskip('mpi4py')
    monkeypatch.delitem(sys.modules, 'mpi4py')
    assert any(path.endswith('mpi4py') for path in find_communication_directories())
    assert 'mpi4py' not in sys.modules


def test_the_loaded_package_counts(monkeypatch, tmp_path):
    loaded = types.ModuleType('mpi4py')
    loaded.__file__ = str(tmp_path / 'elsewhere' / '__init__.py')
    monkeypatch.setitem(sys.modules, 'mpi4py', loaded)
    assert str(tmp_path.resolve() / 'elsewhere') in find_communication_directories()


@pytest.mark.parametrize('kind', ['missing', 'namespace package'])
def test_a_package_that_is_not_installed_has_no_directory(monkeypatch, tmp_path, kind):
    folder = tmp_path / 'mpi4py'  # a user's folder, which Python takes for a namespace package
    folder.mkdir()
    spec = None
    if kind == 'namespace package':
        spec = ModuleSpec('mpi4py', None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.delitem(sys.modules, 'mpi4py', raising=False)
    find_spec = communication_code.importlib.util.find_spec
    monkeypatch.setattr(
        communication_code.importlib.util,
        'find_spec',
        lambda name: spec if name == 'mpi4py' else find_spec(name),
    )
    directories = find_communication_directories()
    assert len(directories) == 2 and str(folder.resolve()) not in directories


def test_a_link_to_a_package_leads_to_its_directory(tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(file_of('chainermn').parent)
    directories = find_communication_directories()
    assert communication_code.is_in_directory(str(link / 'optimizers.py'), directories)
    assert not communication_code.is_in_directory(str(tmp_path / 'optimizers.py'), directories)
