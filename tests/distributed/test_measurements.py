"""Short runs of the measurements that the pages on many ranks cite."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.mpi
def test_jitter(mpiexec):
    printed = mpiexec(2, FOLDER / 'measure_jitter.py', 2)
    assert re.search(r'^2 ranks: inside / before = \d\.\d{3}$', printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.mpi
def test_cost(mpiexec):
    rows = [row for row in mpiexec(2, FOLDER / 'measure_cost.py', 1).splitlines() if '|' in row]
    assert [row.split('|')[1].strip() for row in rows] == ['2', '2']


@pytest.mark.slow
def test_heartbeats():
    command = [sys.executable, FOLDER / 'measure_heartbeats.py', '8', '2']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '8 ranks (8 heard)' in done.stdout
