import resource
from collections import namedtuple

import pytest

from chainer_ssd.runtime import check_job, job_check, open_files
from tests.distributed.threads import run_ranks


def errors_of(size, *arguments, **options):
    """Return the message of each rank. An argument that is callable gets the rank."""

    def work(comm):
        values = [a(comm.rank) if callable(a) else a for a in arguments]
        named = {key: a(comm.rank) if callable(a) else a for key, a in options.items()}
        check_job(comm, *values, **named)

    return [error and str(error) for error in run_ranks(size, work)]


def test_equal_ranks_pass(tmp_path):
    assert errors_of(3, {'seed': 0, 'label_names': ['a', 'b']}, tmp_path, 1000) == [None] * 3
    check_job(None, {'seed': 0}, tmp_path, 1000)


@pytest.mark.parametrize(
    ('facts', 'message'),
    [
        (lambda rank: {'seed': rank % 2}, 'seed differs: 0 on ranks 0, 2, 1 on rank 1'),
        (
            lambda rank: {'names': ['a', 'b', 'c' if rank else 'd']},
            "names differs: 3 values on rank 0, 'c' at place 2 of 3 on ranks 1, 2",
        ),
        (
            lambda rank: {'names': ['a', 'b', 'c'][: 3 - rank % 2]},
            'names differs: 3 values on ranks 0, 2, nothing at place 2 of 2 on rank 1',
        ),
        (
            lambda rank: {'data': {'images': 5, 'fingerprint': 'x' if rank < 2 else 'y'}},
            "data differs: fingerprint 'x' on ranks 0, 1, fingerprint 'y' on rank 2",
        ),
        (
            lambda rank: {'a': 1, **({'b': 2} if rank else {})},
            'b differs: None on rank 0, 2 on ranks 1, 2',
        ),
    ],
)
def test_a_difference_is_named_on_all_ranks(facts, message):
    found = errors_of(3, facts)
    assert len(set(found)) == 1
    assert message in found[0], found[0]


def test_the_message_stays_short():
    def facts(rank):
        return {f'name{i}': str(rank) * 100_000 for i in range(30)}

    (message,) = set(errors_of(20, facts))
    assert len(message) < 30_000
    assert '; and 20 more' in message


def test_versions_are_compared(monkeypatch):
    monkeypatch.setattr(job_check, '_find_versions', lambda: iter([('NumPy', next(numbers))]))
    numbers = iter(['1.26', '2.1'])
    assert 'version of NumPy differs: ' in errors_of(2, {})[0]


def test_an_error_of_one_rank_is_raised_on_all():
    found = errors_of(3, {}, error=lambda rank: ValueError('no such data set') if rank else None)
    assert found == ['ranks 1, 2: no such data set'] * 3
    found = errors_of(3, {}, error=lambda rank: ValueError('no such data set'))
    assert found == ['no such data set'] * 3
    with pytest.raises(RuntimeError, match='^no such data set$'):
        check_job(None, {}, error=ValueError('no such data set'))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    found = errors_of(2, {}, lambda rank: tmp_path / ('file/x' if rank else 'y'))
    assert found == [f'rank 1: {tmp_path}/file/x: cannot be written: Not a directory'] * 2


def test_the_room_that_all_ranks_of_a_host_need_is_compared(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'free')(1_500_000)
    monkeypatch.setattr(job_check.shutil, 'disk_usage', lambda folder: usage)
    monkeypatch.setattr(job_check.socket, 'gethostname', lambda: 'node7')
    assert errors_of(2, {}, tmp_path, 700_000) == [None] * 2
    expected = 'host node7: 2 MB are free in the output folder, and the snapshots need 2 MB'
    assert errors_of(2, {}, tmp_path, 800_000) == [expected] * 2


@pytest.mark.parametrize(('soft', 'hard'), [(300, 4096), (300, 300)])
def test_the_limit_of_open_files_is_raised(monkeypatch, soft, hard):
    changed = []
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (soft, hard))
    monkeypatch.setattr(resource, 'setrlimit', lambda kind, limits: changed.append(limits))
    is_enough = open_files.raise_open_file_limit(1024)
    assert changed == [(min(hard, 1024 + open_files.RESERVE), hard)]
    assert is_enough == (hard > 1280 - 1)


def test_a_limit_of_open_files_that_is_too_low_is_named(monkeypatch):
    monkeypatch.setattr(job_check, 'raise_open_file_limit', lambda n_file: False)
    found = errors_of(2, {})
    assert (
        found
        == ['rank 0: the limit of open files is too low for 2 ranks. Raise it with ulimit -n'] * 2
    )
