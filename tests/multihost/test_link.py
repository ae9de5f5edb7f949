"""The watchdog's link between two hosts: lost packets, a reset, and an intruder.

Only the watchdog's port is disturbed. MPI's own connections stay as they are.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.multihost.conftest import HOSTS
from tests.multihost.test_two_hosts import find_messages, start, wait_until

PORT = 47_600
TIMEOUT_SECONDS = 5  # of the watchdog
OPTIONS = (
    *('--iterations', '100', '--snapshot', '3', '--slow', '0.1'),
    *('--watchdog', str(TIMEOUT_SECONDS), '--watchdog-port', str(PORT)),
)

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which('ip') or not shutil.which('iptables'),
        reason='network namespaces and lost packets need root, iproute2 and iptables',
    ),
]


def inside(host, *command, **options):
    return subprocess.run(
        ['ip', 'netns', 'exec', f'chainer_ssd_{host}', *command], check=True, **options
    )


def disturb(host, action, seconds):
    """Apply an action of iptables to all packets of the watchdog for some seconds."""
    rules = [('INPUT', '--dport'), ('INPUT', '--sport'), ('OUTPUT', '--dport')]
    rules.append(('OUTPUT', '--sport'))
    for mode in ('-A', '-D'):
        for chain, end in rules:
            inside(host, 'iptables', mode, chain, '-p', 'tcp', end, str(PORT), *action)
        time.sleep(seconds if mode == '-A' else 0)


def run_disturbed(out, disturbance):
    """Return what a job has printed that was disturbed in mid-run."""
    out.mkdir(exist_ok=True)
    process = start(out, *OPTIONS)
    wait_until(lambda: list(out.glob('*_committed.json')))
    disturbance()
    printed = process.communicate(timeout=120)[0]
    errors = ''.join(path.read_text() for path in sorted(out.glob('errors*')))
    assert process.returncode == 0, printed + errors
    assert not find_messages(out, 0) and not find_messages(out, 1)
    return printed


@pytest.mark.parametrize('host', ['1', '2'])
@pytest.mark.parametrize(
    ('action', 'seconds'),
    [
        (('-j', 'DROP'), 3.5),
        (('-j', 'REJECT', '--reject-with', 'tcp-reset'), 1.5),
    ],
)
def test_a_disturbed_link_does_not_end_a_healthy_job(hosts, tmp_path, host, action, seconds):
    printed = run_disturbed(tmp_path / 'out', lambda: disturb(host, action, seconds))
    assert 'done after 100 iterations' in printed


def test_a_link_that_is_lost_for_longer_than_the_timeout_ends_the_job(hosts, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    process = start(out, *OPTIONS)
    wait_until(lambda: list(out.glob('*_committed.json')))
    disturb('2', ('-j', 'DROP'), TIMEOUT_SECONDS + 3)
    process.communicate(timeout=60)
    assert process.returncode
    for rank in (0, 1):
        assert re.search('has sent no heartbeat', find_messages(out, rank)[0])


INTRUDER = """
import socket, sys, threading, time
port, rank_0, log = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], 'a', buffering=1)

def copy(source, target, name):
    try:
        while True:
            data = source.recv(4096)
            if not data:
                return
            print(name, data, file=log)
            target.sendall(data)
    except OSError:
        pass

def relay():
    listener = socket.create_server(('127.0.0.1', port))
    while True:
        worker, _ = listener.accept()
        print('caught a rank', file=log)
        other = socket.create_connection((rank_0, port))
        threading.Thread(target=copy, args=(worker, other, 'rank')).start()
        threading.Thread(target=copy, args=(other, worker, 'rank 0')).start()

threading.Thread(target=relay, daemon=True).start()
message = b'{"failure": "the intruder says so"}\\n'
opened = []
while True:
    try:
        opened.append(socket.create_connection((rank_0, port), timeout=1))
        opened[-1].sendall((b'\\0\\0\\0\\1' + b'n' * 32 if len(opened) % 2 else b'') + message)
        print('sent', file=log)
    except OSError:
        time.sleep(0.01)
"""


def test_an_intruder_on_a_host_of_the_job_reads_and_ends_nothing(hosts, tmp_path):
    log = tmp_path / 'intruder.txt'
    command = ['ip', 'netns', 'exec', 'chainer_ssd_2', sys.executable, '-c', INTRUDER]
    with subprocess.Popen([*command, str(PORT), HOSTS['1'], str(log)]) as intruder:
        try:
            wait_until(log.exists)
            printed = run_disturbed(tmp_path / 'out', lambda: time.sleep(2))
        finally:
            intruder.kill()
    assert 'done after 100 iterations' in printed
    seen = log.read_text()
    assert seen.count('sent') > 100
    assert 'caught a rank' not in seen and 'iteration' not in seen


def test_the_tests_of_this_page_reach_the_watchdog(hosts, tmp_path):
    """The port is the watchdog's: one that is closed for good ends the job at its start."""
    out = tmp_path / 'out'
    out.mkdir()
    rule = ('INPUT', '-p', 'tcp', '--dport', str(PORT), '-j', 'REJECT', '--reject-with')
    inside('1', 'iptables', '-A', *rule, 'tcp-reset')
    process = start(out, *OPTIONS)
    process.communicate(timeout=120)
    assert process.returncode
    errors = Path(out / 'errors1').read_text()
    assert f'cannot reach rank 0 at port {PORT}' in errors
