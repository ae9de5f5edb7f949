"""Two runs never write to one folder, and a killed run never blocks the next one."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from chainer_ssd.runtime import folder_lock, lock_folder
from tests.conftest import PYTHONPATH
from tests.distributed.threads import run_ranks

HOLDER = """
import sys, time
from chainer_ssd.runtime import lock_folder
with lock_folder(sys.argv[1]):
    print('locked', flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-c', HOLDER, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': PYTHONPATH},
    )
    assert process.stdout.readline() == 'locked\n'
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_the_first_one_is_named(tmp_path, holder):
    with pytest.raises(RuntimeError, match=f'{tmp_path}: process {holder.pid} on .*, started .*:'):
        with lock_folder(tmp_path):
            pytest.fail('the folder was locked twice')


@pytest.mark.parametrize('signal_number', [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_ends_leaves_no_lock(tmp_path, holder, signal_number):
    holder.send_signal(signal_number)
    holder.wait()
    with lock_folder(tmp_path):
        pass


def test_the_lock_ends_with_the_block(tmp_path):
    for _ in range(2):
        with lock_folder(tmp_path / 'new' / 'folder'):
            pass


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / 'precious'
    target.write_text('content')
    (tmp_path / folder_lock.LOCK_FILE).symlink_to(target)
    with pytest.raises(OSError, match='a link, expected a regular file'):
        with lock_folder(tmp_path):
            pass
    assert target.read_text() == 'content'


@pytest.mark.parametrize('content', ['', '[]', '{"process": 1}', '{', '\x1b[31m', '3'])
def test_any_content_of_the_file_is_accepted(tmp_path, holder, content):
    (tmp_path / folder_lock.LOCK_FILE).write_text(content)
    with pytest.raises(RuntimeError, match='another process writes to this folder'):
        with lock_folder(tmp_path):
            pass


def test_a_file_system_without_locks_gets_a_warning(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(folder_lock.fcntl, 'lockf', fail)
    with pytest.warns(UserWarning, match='cannot be locked.*No locks available'):
        with lock_folder(tmp_path):
            pass


def test_all_ranks_hear_of_the_lock(tmp_path, holder):
    def lock(comm):
        with lock_folder(tmp_path, comm):
            pass

    for error in run_ranks(2, lock):
        assert 'rank 0: RuntimeError: ' in str(error) and 'writes to this folder' in str(error)
