import resource
from collections import namedtuple

import numpy as np
import pytest

from chainer_ssd.distributed import gather_values
from chainer_ssd.runtime import AgreedError, check_job, job_check, open_files
from chainer_ssd.runtime.rank_differences import MAX_LETTERS, list_ranks
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
        (lambda rank: {'seed': rank % 2}, 'seed differs: 0 (ranks 0, 2), 1 (rank 1)'),
        (
            lambda rank: {'names': ('a', 'b', 'c' if rank else 'd')},
            "names[2] differs: 'd' (rank 0), 'c' (ranks 1, 2)",
        ),
        (
            lambda rank: {'names': ['a', 'b', 'c'][: 3 - rank % 2]},
            "names[2] differs: 'c' (ranks 0, 2), missing (rank 1)",
        ),
        (
            lambda rank: {'names': ['a', str(rank), 'b', str(rank)]},
            "names[1] differs: '0' (rank 0), '1' (rank 1), '2' (rank 2), and 1 more in names",
        ),
        (
            lambda rank: {'data': {'files': 5, 'fingerprint': 'x' if rank < 2 else 'y'}},
            "data.fingerprint differs: 'x' (ranks 0, 1), 'y' (rank 2)",
        ),
        (
            lambda rank: {'data': {'a': 1} if rank else {}},
            'data.a differs: missing (rank 0), 1 (ranks 1, 2)',
        ),
        (
            lambda rank: {'data': [{'a': True, 'b': 1 if rank else 1.0}]},
            'data[0].b differs: 1.0 (rank 0), 1 (ranks 1, 2)',
        ),
        (
            lambda rank: {'a': 1, **({'b': None} if rank else {})},
            'b differs: missing (rank 0), None (ranks 1, 2)',
        ),
        (
            lambda rank: {'file': '/a' * 200 + str(rank % 2) + 'b' * 99},
            "file differs: '.../a/a/a/a/a/a/a/a/a/a0bbb",
        ),
        (
            lambda rank: {'seed': rank % 2, 'names': [rank % 2]},
            'names[0] differs: 0 (ranks 0, 2), 1 (rank 1); seed differs: 0 (ranks 0, 2), 1',
        ),
    ],
)
def test_a_difference_is_named_on_all_ranks(facts, message):
    found = errors_of(3, facts)
    assert len(set(found)) == 1
    assert found[0].startswith(message), found[0]


def test_equal_values_are_not_named():
    value = float('nan'), np.float32(1), {'a': (1, 2)}
    assert errors_of(2, {'facts': value}) == [None] * 2


def test_the_message_stays_short():
    def facts(rank):
        return {'classes': [rank] * 1000, **{f'name{i}': str(rank) * 10_000 for i in range(30)}}

    (message,) = set(errors_of(20, facts))
    assert message.endswith('; and 21 more')
    assert len(message) < 10_000
    assert ', and 15 more values' in message
    assert ', and 999 more in classes' in message
    (message,) = set(errors_of(2, {}, error=ValueError('a' * 10_000)))
    assert len(message) == MAX_LETTERS + 3


@pytest.mark.parametrize(
    ('ranks', 'text'),
    [
        ([5], 'rank 5'),
        ([0, 1, 3], 'ranks 0, 1, 3'),
        (range(1, 1024), 'ranks 1-1023'),
        (range(0, 1024, 2), 'ranks 0, 2, 4, 6, 8, 10, 12, 14 and 504 more'),
    ],
)
def test_ranks_are_listed(ranks, text):
    assert list_ranks(ranks) == text


def test_one_rank_sends_a_value(monkeypatch):
    sent = []

    def gather(comm, value):
        sent.append(value)
        return gather_values(comm, value)

    monkeypatch.setattr(job_check, 'gather_values', gather)
    errors_of(4, lambda rank: {'names': ['a'] * 1000, 'seed': int(rank == 2)})
    assert len(sent) == 8
    values = [value for value in sent if 'digests' not in value]
    assert sorted(values, key=str) == [{'seed': 0}, {'seed': 1}, {}, {}]


def test_facts_that_cannot_be_compared_are_an_error_on_all_ranks():
    found = errors_of(3, lambda rank: {'options': {1: 0, 'a': 0} if rank == 1 else {}})
    assert len(set(found)) == 1
    assert found[0].startswith("rank 1: TypeError: '<' not supported")


def test_versions_are_compared(monkeypatch):
    monkeypatch.setattr(job_check, '_find_versions', lambda: {'version of NumPy': next(numbers)})
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
    with pytest.raises(RuntimeError, match=f'^{tmp_path}/file/x: cannot be written'):
        check_job(None, {}, tmp_path / 'file/x')


def test_the_folder_of_a_rank_with_an_error_is_not_made(tmp_path):
    errors_of(1, {}, tmp_path / 'out', error=ValueError('wrong'))
    assert not (tmp_path / 'out').exists()


def test_the_room_that_all_ranks_of_a_host_need_is_compared(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'free')(1_500_000)
    monkeypatch.setattr(job_check.shutil, 'disk_usage', lambda folder: usage)
    monkeypatch.setattr(job_check.socket, 'gethostname', lambda: 'node7')
    assert errors_of(2, {}, tmp_path, 700_000) == [None] * 2
    expected = f'host node7: 1 MB are free in {tmp_path}, and 2 MB are needed there'
    assert errors_of(2, {}, tmp_path, 800_000) == [expected] * 2
    with pytest.raises(AgreedError, match=expected):
        check_job(None, {}, tmp_path, 1_600_000)
    monkeypatch.setattr(job_check.socket, 'gethostname', lambda: f'node{next(numbers)}')
    numbers = iter(range(2))
    assert errors_of(2, {}, tmp_path, 800_000) == [None] * 2


@pytest.mark.parametrize(('soft', 'hard'), [(300, 4096), (300, 300)])
def test_the_limit_of_open_files_is_raised(monkeypatch, soft, hard):
    changed = []
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (soft, hard))
    monkeypatch.setattr(resource, 'setrlimit', lambda kind, limits: changed.append(limits))
    is_enough = open_files.raise_open_file_limit(1024)
    assert changed == [(min(hard, 1024 + open_files.RESERVE), hard)]
    assert is_enough == (hard > 1280 - 1)


def test_a_limit_that_the_system_refuses_is_not_an_error(monkeypatch):
    def refuse(kind, limits):
        raise ValueError('current limit exceeds maximum limit')

    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (300, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, 'setrlimit', refuse)
    assert not open_files.raise_open_file_limit(1024)
    assert open_files.raise_open_file_limit(20)


def test_a_limit_of_open_files_that_is_too_low_is_named(monkeypatch):
    monkeypatch.setattr(job_check, 'raise_open_file_limit', lambda n_file: False)
    expected = (
        'the limit of open files is too low for 2 ranks, which need 258. Raise it with ulimit'
    )
    for message in errors_of(2, {}):
        assert message.startswith(f'rank 0: {expected}')


@pytest.mark.mpi
@pytest.mark.parametrize('size', [2, 3])
def test_mpi_ranks_get_one_message_in_a_second(mpiexec, tmp_path, size):
    script = tmp_path / 'check.py'
    script.write_text(
        f"""
import time
import chainermn
from chainer_ssd.runtime import check_job

comm = chainermn.create_communicator('naive')
facts = {{'label_names': ['class'] * 1000, 'batchsize': 8}}
comm.mpi_comm.barrier()
start = time.perf_counter()
check_job(comm, facts, {str(tmp_path / 'out')!r}, 1000)
assert time.perf_counter() - start < 1
try:
    check_job(comm, {{**facts, 'seed': comm.rank}})
except RuntimeError as error:
    print(str(error) + '\\n', end='', flush=True)
"""
    )
    printed = mpiexec(size, script)
    values = ', '.join(f'{rank} (rank {rank})' for rank in range(size))
    assert printed.count(f'seed differs: {values}\n') == size, printed
