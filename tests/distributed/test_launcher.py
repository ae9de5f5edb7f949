import os
import subprocess
import sys

import pytest

from chainer_ssd.distributed import find_launcher

STEP = {'SLURM_STEP_ID': '0', 'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '8'}


@pytest.mark.parametrize(
    ('environment', 'found'),
    [
        ({}, None),
        ({'PMI_SIZE': '2', 'PMI_RANK': '0'}, (2, 'PMI_SIZE')),
        ({'PMI_SIZE': '1'}, (1, 'PMI_SIZE')),
        ({'OMPI_COMM_WORLD_SIZE': '16'}, (16, 'OMPI_COMM_WORLD_SIZE')),
        (STEP, (8, 'SLURM_STEP_NUM_TASKS')),
        ({'SLURM_NTASKS': '8', 'SLURM_JOB_ID': '3'}, None),  # a batch script, one process
        ({'SLURM_NTASKS': '8', 'SLURM_PROCID': '0'}, None),
        ({'PMI_SIZE': 'many'}, None),
        ({'PMI_SIZE': '²'}, None),
        ({'PMI_SIZE': '1', 'OMPI_COMM_WORLD_SIZE': '4'}, (4, 'OMPI_COMM_WORLD_SIZE')),
        ({**STEP, 'SLURM_STEP_NUM_TASKS': '1', 'PMI_SIZE': '4'}, (4, 'PMI_SIZE')),
        ({**STEP, 'PMI_SIZE': '8'}, (8, 'PMI_SIZE')),
        ({'PMIX_RANK': '1'}, None),  # the size is not in the environment
    ],
)
def test_the_number_of_processes_is_found(environment, found):
    assert find_launcher(environment) == found


@pytest.mark.mpi
def test_mpiexec_is_found(start_mpiexec, tmp_path):
    script = tmp_path / 'size.py'
    script.write_text('from chainer_ssd.distributed import find_launcher\nprint(find_launcher())')
    process = start_mpiexec(3, script)
    printed = process.communicate(timeout=60)[0]
    assert printed.count('size=3') == 3
    command = [sys.executable, script]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(('PMI', 'OMPI'))}
    assert subprocess.check_output(command, env=environment, text=True).strip() == 'None'
