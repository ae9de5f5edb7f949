"""Two hosts: network namespaces with a link between them."""

import os
import signal
import subprocess
import time

import pytest

HOSTS = {'1': '10.203.77.1', '2': '10.203.77.2'}


def ip(*args, host=None, check=True):
    inside = ('netns', 'exec', f'chainer_ssd_{host}', 'ip') if host else ()
    return subprocess.run(['ip', *inside, *args], check=check, capture_output=True).stdout


def pids(host):
    found = subprocess.run(
        ['ip', 'netns', 'pids', f'chainer_ssd_{host}'], capture_output=True, text=True, check=True
    ).stdout
    return [int(pid) for pid in found.split()]


@pytest.fixture
def hosts():
    """Make two hosts and the link between them, and delete them after the test."""
    for host in HOSTS:
        ip('netns', 'del', f'chainer_ssd_{host}', check=False)
    for host in HOSTS:
        ip('netns', 'add', f'chainer_ssd_{host}')
    ip(
        'link',
        'add',
        'eth0',
        'netns',
        'chainer_ssd_1',
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        'chainer_ssd_2',
    )
    for host, address in HOSTS.items():
        ip('addr', 'add', f'{address}/24', 'dev', 'eth0', host=host)
        ip('link', 'set', 'eth0', 'up', host=host)
        ip('link', 'set', 'lo', 'up', host=host)
    for host in HOSTS:  # the kernel needs up to a second, and MPI needs a link that is up
        while b'state UP' not in ip('link', 'show', 'eth0', host=host):
            time.sleep(0.05)
    yield HOSTS
    for host in HOSTS:
        for pid in pids(host):
            os.kill(pid, signal.SIGKILL)
        ip('netns', 'del', f'chainer_ssd_{host}')
