"""MPI, NCCL and worker processes on one GPU."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.mpi]


@pytest.mark.parametrize(
    'n, case',
    [
        (2, ['shared_gpu']),
        (3, ['shared_gpu']),
        (1, ['nccl']),
        (1, ['nccl_batch_normalization']),
        (1, ['workers', 'fork']),
        (2, ['workers', 'fork']),
        (2, ['workers', 'forkserver']),
        (2, ['workers', 'spawn']),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, list) else value,
)
def test_ranks(mpiexec, n, case):
    out = mpiexec(n, Path(__file__).with_name('ranks.py'), *case)
    for rank in range(n):
        assert f'rank {rank} of {n}: {case[0]} passed' in out
