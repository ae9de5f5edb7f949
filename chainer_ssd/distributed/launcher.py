"""How many processes an MPI launcher has started, without MPI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

#: Variables with the number of processes: MPICH and ``srun --mpi=pmi2``, Open MPI, MVAPICH.
SIZE_VARIABLES = 'PMI_SIZE', 'OMPI_COMM_WORLD_SIZE', 'MV2_COMM_WORLD_SIZE'
#: ``srun`` sets all of them for the tasks of a step. A batch script has SLURM_NTASKS alone.
SLURM_TASK_VARIABLES = 'SLURM_STEP_ID', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'


class LaunchedProcesses(NamedTuple):
    """Processes that an MPI launcher has started."""

    #: Their number.
    size: int
    #: Name of the environment variable that gives it.
    variable: str


def find_launcher(environment: Mapping[str, str] | None = None) -> LaunchedProcesses | None:
    """Return how many processes an MPI launcher has started, this one included.

    A program that a rank starts inherits the variables, although it is no rank. The processes of
    ``srun`` count too, even if they are independent of each other. If launchers are nested, the
    largest number counts: a shell of ``salloc`` is a step with one task.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Environment variables. Default: those of this process.

    Returns
    -------
    LaunchedProcesses or None
        None if no launcher has set a variable.
    """
    environment = os.environ if environment is None else environment
    names = list(SIZE_VARIABLES)
    if all(name in environment for name in SLURM_TASK_VARIABLES):
        names.append('SLURM_STEP_NUM_TASKS')
    found = [
        LaunchedProcesses(int(environment[name]), name)
        for name in names
        if environment.get(name, '').isdecimal()
    ]
    return max(found, key=lambda launched: launched.size, default=None)
