"""Exchange of values, errors and results between ranks."""

import pytest

from chainer_ssd.distributed import (
    from_rank_0,
    gather_shards,
    gather_values,
    raise_together,
    shard_of,
)
from tests.distributed.threads import run_ranks


def test_one_process_needs_no_communicator():
    assert gather_values(None, 'a') == ['a']
    assert from_rank_0(None, 'a') == 'a'
    raise_together(None, None)
    with pytest.raises(RuntimeError, match='^rank 0: OSError: full$'):
        raise_together(None, OSError('full'))


@pytest.mark.parametrize('size', [1, 2, 12])  # 12: text would sort rank 10 before rank 2
def test_values_are_in_the_order_of_ranks(size):
    results = run_ranks(size, lambda comm: gather_values(comm, f'value {comm.rank}'))
    assert results == [[f'value {rank}' for rank in range(size)]] * size


def test_the_value_of_rank_0_is_on_every_rank():
    assert run_ranks(3, lambda comm: from_rank_0(comm, comm.rank + 7)) == [7, 7, 7]


def test_errors_of_some_ranks_are_raised_on_all():
    def program(comm):
        raise_together(comm, ValueError(f'value {comm.rank}') if comm.rank else None)

    errors = run_ranks(3, program)
    text = 'rank 1: ValueError: value 1; rank 2: ValueError: value 2'
    assert [(type(error), str(error)) for error in errors] == [(RuntimeError, text)] * 3
    assert run_ranks(3, lambda comm: raise_together(comm, None)) == [None] * 3


@pytest.mark.parametrize('length', [0, 1, 7])
def test_results_of_shards_are_put_together_in_order(length):
    def program(comm):
        results = {i: f'result {i}' for i in reversed(shard_of(comm, length))}
        return gather_shards(comm, results, length)

    assert run_ranks(3, program) == [[f'result {i}' for i in range(length)], None, None]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda results: results.pop(4), r'example 4 of 6 comes from ranks \[\].*1 are wrong'),
        (lambda results: results.update({3: ''}), r'example 3 of 6 comes from ranks \[0, 1\]'),
        (lambda results: results.update({9: ''}), r'example 9 of 6 comes from ranks \[1\]'),
    ],
)
def test_a_missing_or_double_result_is_an_error_on_every_rank(change, message):
    def program(comm):
        results = dict.fromkeys([[0, 2, 3], [1, 4, 5]][comm.rank], '')
        if comm.rank:
            change(results)
        return gather_shards(comm, results, 6)

    for error in run_ranks(2, program):
        with pytest.raises(RuntimeError, match=message):
            raise error
