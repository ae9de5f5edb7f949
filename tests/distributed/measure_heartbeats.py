"""Measures what the watchdog costs rank 0 of a job with many ranks.

``python tests/distributed/measure_heartbeats.py [RANKS [SECONDS]]`` measures RANKS (1024) for about
SECONDS (20). It needs no ``mpiexec``. Rank 0 is a watchdog of this process. One other process
imitates all other ranks: each has its connection, and sends a heartbeat in the watchdog's interval.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from types import SimpleNamespace

from measure_cost import read_usage

from chainer_ssd.runtime import Watchdog
from chainer_ssd.runtime.open_files import raise_open_file_limit
from chainer_ssd.runtime.watchdog.caller import Caller
from chainer_ssd.runtime.watchdog.watchdog import MAX_HEARTBEATS_PER_SECOND

HEARTBEAT = {
    'iteration': 812,
    'in_update': True,
    'active': True,
    'blocked': False,
    'place': 'forward at functions/connection/convolution_2d.py:172',
    'finished': False,
    'samples': [[100, 3], [812, 40], [700, 90], [60, 11], [8, 2]],
    'stopped_workers': [],
}


class ImitatedRanks:
    """Communicator of rank 0. The other ranks are one process."""

    rank = 0

    def __init__(self, size):
        self.size, self.process = size, None

    def bcast_obj(self, contact):
        secret, _, port, *_ = contact
        arguments = [str(self.size), secret.hex(), str(port)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, 'others', *arguments], stdin=subprocess.PIPE
        )
        return contact

    def allreduce_obj(self, values):
        return values


def imitate(size, secret, port):
    """Connect as ranks 1 to size - 1, and send heartbeats until standard input is closed."""
    raise_open_file_limit(4 * size)
    selector, connected = selectors.DefaultSelector(), []
    for rank in range(1, size):
        Caller(selector, secret, rank, ['127.0.0.1'], port, connected.append).start()
    while len(connected) < size - 1:
        run_ready(selector)
    for connection in connected:
        selector.register(
            connection, selectors.EVENT_READ, lambda each=connection: each.recv(65536)
        )
    selector.register(sys.stdin, selectors.EVENT_READ, sys.exit)
    message = json.dumps(HEARTBEAT).encode() + b'\n'
    interval = max(1, size / MAX_HEARTBEATS_PER_SECOND)
    began, n_sent = time.monotonic(), 0
    while True:
        run_ready(selector, 0.001)
        while n_sent < (time.monotonic() - began) / interval * (size - 1):
            connected[n_sent % (size - 1)].send(message)
            n_sent += 1


def run_ready(selector, seconds=None):
    """Block until an event, for ``seconds`` at most, and handle the events."""
    for key, _ in selector.select(seconds):
        if key.fileobj.fileno() >= 0:
            key.data()


def train(updater, seconds):
    """Imitate a training of five iterations a second."""
    for _ in range(round(5 * seconds)):
        time.sleep(0.2)
        updater.iteration += 1


def main(size=1024, seconds=20):
    raise_open_file_limit(4 * size)
    comm = ImitatedRanks(size)
    watchdog = Watchdog(comm, 600)
    updater = SimpleNamespace(iteration=0)
    watchdog.initialize(SimpleNamespace(updater=updater))
    train(updater, 2 * watchdog.interval)
    before = read_usage(watchdog._thread)
    train(updater, seconds)
    passed, processor, wakes = read_usage(watchdog._thread) - before
    n_heard = len(watchdog.read_samples())
    print(
        f'{size} ranks ({n_heard} heard), a heartbeat each {watchdog.interval:.2g} s: '
        f'{1e3 * processor / passed:.1f} ms per second, {wakes / passed:.1f} wake-ups per second',
        flush=True,
    )
    comm.process.kill()
    comm.process.wait()
    os._exit(0)  # the watchdog would wait for the other ranks


if __name__ == '__main__':
    if sys.argv[1:2] == ['others']:
        imitate(int(sys.argv[2]), bytes.fromhex(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*map(int, sys.argv[1:]))
