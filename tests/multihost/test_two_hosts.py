"""MPI over TCP between two hosts. Each host is a network namespace with its own address."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.multihost.conftest import HOSTS, ip, pids

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / 'tests/distributed/job.py'
TIMEOUT_SECONDS = 5  # of the watchdog
DEADLINE_SECONDS = 60  # on a busy machine
OPTIONS = (
    '--iterations',
    '30',
    '--snapshot',
    '3',
    '--workers',
    '1',
    '--watchdog',
    str(TIMEOUT_SECONDS),
)

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which('ip'),
        reason='network namespaces need root and iproute2',
    ),
]


def start(out, *options):
    """Start one rank on each host. Its standard error goes to ``out/errors<rank>``."""
    mpiexec = str(Path(sys.executable).with_name('mpiexec'))
    rank = (
        f'exec {sys.executable} -m mpi4py {JOB} {out} {" ".join(options)} 2> {out}/errors$PMI_RANK'
    )
    env = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'OPENBLAS_NUM_THREADS': '1',
        # MPICH must not use the memory that the hosts share.
        'MPIR_CVAR_NOLOCAL': '1',
        'UCX_TLS': 'tcp,self',
        'UCX_NET_DEVICES': 'eth0',
    }
    return subprocess.Popen(
        [
            'ip',
            'netns',
            'exec',
            'chainer_ssd_1',
            mpiexec,
            '-launcher',
            'ssh',
            '-launcher-exec',
            str(Path(__file__).with_name('in_namespace.sh')),
            '-iface',
            'eth0',
            '-hosts',
            ','.join(HOSTS.values()),
            '-ppn',
            '1',
            '-n',
            '2',
            'sh',
            '-c',
            rank,
        ],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def train(out, *options):
    out.mkdir(exist_ok=True)
    process = start(out, *OPTIONS, *options)
    printed = process.communicate(timeout=120)[0]
    errors = ''.join(path.read_text() for path in sorted(out.glob('errors*')))
    assert process.returncode == 0, printed + errors
    with np.load(out / 'weights.npz') as npz:
        return printed, {name: npz[name].tobytes() for name in npz.files}


def find_messages(out, rank):
    path = out / f'errors{rank}'
    return re.findall(r'^watchdog on rank \d: (.*)', path.read_text(), re.MULTILINE)


def wait_until(condition):
    """Block until a condition holds, or until the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def find_ranks():
    """Return the process ids of the ranks on both hosts."""
    return [pid for host in HOSTS for pid in pids(host) if is_rank(pid)]


def cut_the_link(hosts):
    ip('link', 'set', 'eth0', 'down', host='2')


def freeze_a_host(hosts):
    for pid in pids('2'):
        os.kill(pid, signal.SIGSTOP)


def repair(hosts):
    for pid in [pid for host in hosts for pid in pids(host)]:
        os.kill(pid, signal.SIGKILL)
    ip('link', 'set', 'eth0', 'up', host='2')


@pytest.mark.parametrize(('break_', 'living'), [(cut_the_link, (0, 1)), (freeze_a_host, (0,))])
def test_living_ranks_end_and_the_run_resumes(hosts, tmp_path, break_, living):
    _, expected = train(tmp_path / 'uninterrupted')

    out = tmp_path / 'broken'
    out.mkdir()
    process = start(out, *OPTIONS, '--slow', '0.2')
    wait_until(lambda: list(out.glob('*06_rank*.json')))
    break_(hosts)
    wait_until(lambda: all(find_messages(out, rank) for rank in living))
    for rank in living:
        assert re.search(
            f'rank {1 - rank} has sent no heartbeat for .* last seen after iteration',
            find_messages(out, rank)[0],
        )
    wait_until(lambda: len(find_ranks()) <= 2 - len(living))
    errors = [path.read_text() for path in sorted(out.glob('errors*'))]
    assert len(find_ranks()) == 2 - len(living), errors
    repair(hosts)
    process.communicate(timeout=20)
    assert process.returncode

    printed, found = train(out, '--resume')
    assert int(re.search(r'resumed from (\d+)', printed)[1]) < 12  # the link was cut in mid-run
    assert found == expected


def test_the_host_of_rank_0_is_lost_and_the_run_resumes(hosts, tmp_path):
    _, expected = train(tmp_path / 'uninterrupted')
    out = tmp_path / 'broken'
    out.mkdir()
    process = start(out, *OPTIONS, '--slow', '0.2')
    wait_until(lambda: list(out.glob('*06_committed.json')))
    for pid in pids('1'):  # the launcher as well
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode
    wait_until(lambda: not pids('2'))
    assert not pids('2')
    printed, found = train(out, '--resume')
    assert int(re.search(r'resumed from (\d+)', printed)[1]) >= 6
    assert found == expected


def is_rank(pid):
    try:
        parts = Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
        parent = int(Path(f'/proc/{pid}/stat').read_text().rsplit(')')[1].split()[1])
        return (
            parts[1:3] == [b'-m', b'mpi4py']
            and b'-m' not in Path(f'/proc/{parent}/cmdline').read_bytes().split(b'\0')[:2]
        )
    except (OSError, IndexError):
        return False
