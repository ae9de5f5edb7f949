from pathlib import Path

import pytest

from tests.distributed.exact_normalization import CASES, TOLERANCES

SCRIPT = Path(__file__).with_name('exact_normalization.py')


@pytest.mark.mpi
@pytest.mark.parametrize('n', [2, 3])
def test_training_with_normalization_is_that_of_one_process(mpiexec, n):
    printed = mpiexec(n, SCRIPT, n)
    for case in CASES:
        for dtype in TOLERANCES:
            assert f'equal: {case}, {dtype} (' in printed
