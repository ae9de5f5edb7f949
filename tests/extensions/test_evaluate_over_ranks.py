from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('evaluate_over_ranks.py')


@pytest.mark.mpi
def test_any_number_of_ranks_computes_the_same_figures_exactly(mpiexec):
    outputs = [mpiexec(n, SCRIPT) for n in (1, 2, 3)]
    assert "'main/map': '0x1." in outputs[0]
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.mpi
@pytest.mark.parametrize(
    ('mode', 'expected'),
    [
        ('lose', 'example 6 of 13 comes from ranks []'),
        ('repeat', 'example 7 of 13 comes from ranks [0, 1]'),
    ],
)
def test_every_image_comes_from_one_rank(mpiexec, mode, expected):
    output = mpiexec(2, SCRIPT, mode)
    for rank in (0, 1):
        assert f'rank {rank}: ' in output and output.count(expected) >= 2
