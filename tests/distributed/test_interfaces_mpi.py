from pathlib import Path

import pytest

from tests.distributed.exact_interfaces import CASES, LOSSES

SCRIPT = Path(__file__).with_name('exact_interfaces.py')


@pytest.mark.mpi
@pytest.mark.parametrize('n', [2, 3, pytest.param(8, marks=pytest.mark.slow)])
def test_averaged_gradients_are_those_of_one_process(mpiexec, n):
    printed = mpiexec(n, SCRIPT, n)
    for name in LOSSES:
        for case in CASES:
            assert f'equal: {name}; {case} (' in printed


@pytest.mark.mpi
def test_one_rank_is_no_test(mpiexec):
    with pytest.raises(AssertionError, match='one rank shows nothing'):
        mpiexec(1, SCRIPT, 1)
