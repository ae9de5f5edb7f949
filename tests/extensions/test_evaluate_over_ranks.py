from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('evaluate_over_ranks.py')


@pytest.mark.mpi
def test_any_number_of_ranks_finds_the_same_to_the_last_digit(mpiexec):
    found = [mpiexec(n, SCRIPT) for n in (1, 2, 3)]
    assert "'main/map': '0x1." in found[0]
    assert found[0] == found[1] == found[2]


@pytest.mark.mpi
@pytest.mark.parametrize(
    ('word', 'expected'),
    [
        ('lose', 'example 6 of 13 comes from ranks []'),
        ('repeat', 'example 7 of 13 comes from ranks [0, 1]'),
    ],
)
def test_every_image_comes_from_one_rank(mpiexec, word, expected):
    printed = mpiexec(2, SCRIPT, word)
    for rank in (0, 1):
        assert f'rank {rank} says: ' in printed and printed.count(expected) >= 2
