"""Ranks find each other by TCP, whoever else is on the network."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time

import pytest

from chainer_ssd.runtime.watchdog import rendezvous
from chainer_ssd.runtime.watchdog.messenger import Messenger
from tests.distributed.threads import run_ranks


def until(messenger, n):
    """The first n messages."""
    found, end = [], time.monotonic() + 20
    while len(found) < n and time.monotonic() < end:
        found += messenger.receive(1)
    return found


def greet(comm):
    """Every rank tells its number to rank 0, which tells all, and all hang up."""
    messenger = Messenger(comm)
    if comm.rank:
        messenger.send(comm.rank)
        told = until(messenger, 1)
    else:
        told = sorted(until(messenger, comm.size - 1))
        messenger.send('all')
    messenger.hang_up()
    return told


def check_greeted(results):
    size = len(results)
    assert results == [[(rank, rank) for rank in range(1, size)], *[[(0, 'all')]] * (size - 1)]


def test_messages_reach_rank_0_and_from_there_all():
    check_greeted(run_ranks(4, greet))


def test_a_lost_connection_is_said_once():
    def program(comm):
        with contextlib.closing(Messenger(comm)) as messenger:
            return comm.rank or until(messenger, 1) + messenger.receive(0.1)

    assert run_ranks(2, program)[0] == [(1, None)]


def test_strangers_are_sent_away(monkeypatch):
    connect, strangers = rendezvous._connect, []

    def connect_after_strangers(secret, rank, addresses, host, port):
        for said in (b'', b'', b'GET / HTTP/1.1\r\n\r\n' * 1000, b'x', b'\0' * 20, None):
            strangers.append(socket.create_connection(('127.0.0.1', port)))
            if said is None:
                strangers[-1].close()
            else:
                strangers[-1].sendall(said)
        return connect(secret, rank, addresses, host, port)

    monkeypatch.setattr(rendezvous, '_connect', connect_after_strangers)
    began = time.monotonic()
    check_greeted(run_ranks(3, greet))
    assert time.monotonic() - began < rendezvous.ANSWER
    for stranger in strangers:
        if stranger.fileno() >= 0:
            stranger.settimeout(5)
            try:
                assert stranger.recv(100) == b''  # nothing of the secret
            except ConnectionError:
                pass
            stranger.close()


def test_a_stranger_who_answers_is_not_taken_for_rank_0(monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as echo:
        calls = rendezvous._calls

        def calls_to_a_stranger_first(names, port, end, errors):
            stranger = socket.create_connection(echo.getsockname())
            served, _ = echo.accept()
            served.sendall(b'0123456789abcdef')
            yield 'stranger', stranger
            served.close()
            yield from calls(names, port, end, errors)

        monkeypatch.setattr(rendezvous, '_calls', calls_to_a_stranger_first)
        check_greeted(run_ranks(2, greet))


def test_an_address_that_leads_nowhere_costs_no_time(monkeypatch):
    # A queue of one that nobody serves is full after some connections: further ones get no answer.
    with socket.create_server(('127.0.0.1', 0), backlog=0) as silent:
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(silent.getsockname())
        connect_ex = socket.socket.connect_ex
        monkeypatch.setattr(
            socket.socket,
            'connect_ex',
            lambda self, address: connect_ex(
                self, silent.getsockname() if address[0] == '192.0.2.1' else address
            ),
        )
        monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['192.0.2.1'] * 9 + ['127.0.0.1'])
        began = time.monotonic()
        check_greeted(run_ranks(2, greet))
        assert time.monotonic() - began < 5
        for caller in callers:
            caller.close()


def test_a_host_name_without_an_address_does_no_harm(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'no-such-host.invalid')
    check_greeted(run_ranks(2, greet))
    monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['no-such-address.invalid'])
    monkeypatch.setattr(rendezvous, 'CONNECT', 2)
    for error in run_ranks(2, greet):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0 at port' in str(error)
        assert 'no-such-host.invalid: ' in str(error) and 'ranks [1] did not connect' in str(error)


def test_a_name_that_no_host_can_have_is_told_like_one_without_an_address(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: f'{"a" * 70}.invalid')
    monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['no-such-address.invalid'])
    monkeypatch.setattr(rendezvous, 'CONNECT', 2)
    for error in run_ranks(2, greet):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0' in str(error)


def test_without_posix_limits_the_package_is_imported_all_the_same():
    subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; sys.modules["resource"] = None\n'
            'sys.modules["fcntl"] = None\nimport chainer_ssd',
        ],
        check=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )


def test_rank_0_without_a_port_is_told_to_all(monkeypatch):
    def listener(backlog):
        raise OSError(98, 'Address already in use')

    monkeypatch.setattr(rendezvous, '_listener', listener)
    errors = run_ranks(3, greet)
    assert {str(error) for error in errors} == {
        'rank 0: OSError: [Errno 98] Address already in use'
    }


def test_rank_0_that_cannot_list_its_addresses_is_told_to_all(monkeypatch):
    def addresses():
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(rendezvous, 'own_addresses', addresses)
    errors = run_ranks(3, greet)
    assert {str(error) for error in errors} == {
        'rank 0: PermissionError: [Errno 1] Operation not permitted'
    }


def test_a_rank_that_calls_again_is_heard_on_its_last_call(monkeypatch):
    connect, again = rendezvous._connect, threading.Event()

    def connect_twice(secret, rank, *place):
        if rank == 2:  # late: rank 0 still listens when rank 1 calls again
            again.wait(10)
            return connect(secret, rank, *place)
        connect(secret, rank, *place).close()
        peer = connect(secret, rank, *place)
        again.set()
        return peer

    monkeypatch.setattr(rendezvous, '_connect', connect_twice)
    check_greeted(run_ranks(3, greet))


CROWD = """
import resource, socket, sys, time
from chainer_ssd.runtime.watchdog import rendezvous
port, size, secret = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
rendezvous._make_room(size)
peers = []
for rank in range(1, size):
    peers.append(socket.create_connection(('127.0.0.1', port)))
    peers[-1].sendall(rendezvous.CARD.pack(secret[:16], rank))
assert all(peer.recv(16) == secret[16:] for peer in peers)
print('all answered', flush=True)
sys.stdin.read()
"""


def test_a_thousand_ranks_connect_where_1024_files_may_be_open():
    size, secret = 1024, bytes(range(32))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * size:
        pytest.skip(f'this system allows {hard} open files: 1,024 ranks need more')
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    peers = {}
    try:
        listener = rendezvous._listener(size)
        with subprocess.Popen(
            [sys.executable, '-c', CROWD, str(listener.getsockname()[1]), str(size), secret.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        ) as crowd:
            peers = rendezvous._accept(listener, secret, size)
            assert crowd.stdout.readline() == 'all answered\n'
            assert sorted(peers) == list(range(1, size))
    finally:
        for peer in peers.values():
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
