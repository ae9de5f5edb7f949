from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('out_of_step.py')


@pytest.mark.mpi
@pytest.mark.parametrize(('n', 'others'), [(2, '[0]'), (3, '[0, 1]')])
def test_every_rank_gets_the_same_error(mpiexec, n, others):
    evaluating, ahead = mpiexec(n, SCRIPT).splitlines()
    expected = (
        f'ranks are out of step: expected all to count the positives of one iteration, '
        f'found ranks {others} in training after 1 updates; ranks [{n - 1}] '
    )
    assert evaluating == expected + 'in evaluation after 1 updates'
    assert ahead == expected + 'in training after 2 updates'
