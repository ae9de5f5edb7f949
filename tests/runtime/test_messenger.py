"""TCP connections and messages between ranks, on a network with other programs."""

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

LONG_SECONDS = 600  # longer than run_ranks allows: a timeout that expires makes the test fail


def receive(messenger, n):
    """Return the first n messages."""
    found, end = [], time.monotonic() + 20
    while len(found) < n and time.monotonic() < end:
        found += messenger.receive(1)
    return found


def exchange(comm):
    """Send each rank's number to rank 0, and one message from rank 0 to all."""
    messenger = Messenger(comm)
    if comm.rank:
        messenger.send(comm.rank)
        received = receive(messenger, 1)
    else:
        received = sorted(receive(messenger, comm.size - 1))
        messenger.send('all')
    messenger.close_in_order()
    return received


def check_exchanged(results):
    size = len(results)
    assert results == [[(rank, rank) for rank in range(1, size)], *[[(0, 'all')]] * (size - 1)]


def test_messages_reach_rank_0_and_all_other_ranks():
    check_exchanged(run_ranks(4, exchange))


def test_a_closed_connection_is_reported_once():
    def program(comm):
        with contextlib.closing(Messenger(comm)) as messenger:
            return comm.rank or receive(messenger, 1) + messenger.receive(0.1)

    assert run_ranks(2, program)[0] == [(1, None)]


def test_other_programs_that_connect_are_disconnected(monkeypatch):
    connect, others = rendezvous._connect, []

    def connect_after_others(secret, rank, addresses, host, port):
        for data in (b'', b'', b'GET / HTTP/1.1\r\n\r\n' * 1000, b'x', b'\0' * 20, None):
            others.append(socket.create_connection(('127.0.0.1', port)))
            if data is None:
                others[-1].close()
            else:
                others[-1].sendall(data)
        return connect(secret, rank, addresses, host, port)

    monkeypatch.setattr(rendezvous, '_connect', connect_after_others)
    monkeypatch.setattr(rendezvous, 'HANDSHAKE_SECONDS', LONG_SECONDS)
    monkeypatch.setattr(rendezvous, 'CONNECT_SECONDS', LONG_SECONDS)
    check_exchanged(run_ranks(3, exchange))
    for other in others:
        if other.fileno() >= 0:
            other.settimeout(20)
            try:
                assert other.recv(100) == b''  # nothing of the secret
            except ConnectionError:
                pass
            other.close()


def test_another_program_that_answers_is_not_rank_0(monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as echo:
        open_connections = rendezvous._open_connections

        def connect_to_another_program_first(names, port, end, errors):
            peer = socket.create_connection(echo.getsockname())
            served, _ = echo.accept()
            served.sendall(b'0123456789abcdef')
            yield 'another host', peer
            served.close()
            yield from open_connections(names, port, end, errors)

        monkeypatch.setattr(rendezvous, '_open_connections', connect_to_another_program_first)
        check_exchanged(run_ranks(2, exchange))


def test_an_address_without_an_answer_does_not_block_the_others(monkeypatch):
    # The queue of a server that never accepts is full after some connections. Further connections
    # get no answer.
    with socket.create_server(('127.0.0.1', 0), backlog=0) as silent:
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(silent.getsockname())
        connect_ex = socket.socket.connect_ex
        monkeypatch.setattr(
            socket.socket,
            'connect_ex',
            lambda self, address: connect_ex(
                self, silent.getsockname() if address[0] == '192.0.2.1' else address
            ),
        )
        monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['192.0.2.1'] * 9 + ['127.0.0.1'])
        monkeypatch.setattr(rendezvous, 'HANDSHAKE_SECONDS', LONG_SECONDS)
        monkeypatch.setattr(rendezvous, 'CONNECT_SECONDS', LONG_SECONDS)
        check_exchanged(run_ranks(2, exchange))
        for client in clients:
            client.close()


def test_a_host_name_without_an_address_is_an_error_only_if_no_address_works(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'no-such-host.invalid')
    check_exchanged(run_ranks(2, exchange))
    monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['no-such-address.invalid'])
    monkeypatch.setattr(rendezvous, 'CONNECT_SECONDS', 2)
    for error in run_ranks(2, exchange):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0 at port' in str(error)
        assert 'no-such-host.invalid: ' in str(error) and 'ranks [1] did not connect' in str(error)


def test_an_invalid_host_name_is_like_one_without_an_address(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: f'{"a" * 70}.invalid')
    monkeypatch.setattr(rendezvous, 'own_addresses', lambda: ['no-such-address.invalid'])
    monkeypatch.setattr(rendezvous, 'CONNECT_SECONDS', 2)
    for error in run_ranks(2, exchange):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0' in str(error)


def test_the_package_can_be_imported_without_posix_modules():
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


def test_all_ranks_get_the_error_if_rank_0_has_no_port(monkeypatch):
    def listen(backlog):
        raise OSError(98, 'Address already in use')

    monkeypatch.setattr(rendezvous, '_listen', listen)
    errors = run_ranks(3, exchange)
    assert {str(error) for error in errors} == {
        'rank 0: OSError: [Errno 98] Address already in use'
    }


def test_all_ranks_get_the_error_if_rank_0_cannot_list_its_addresses(monkeypatch):
    def addresses():
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(rendezvous, 'own_addresses', addresses)
    errors = run_ranks(3, exchange)
    assert {str(error) for error in errors} == {
        'rank 0: PermissionError: [Errno 1] Operation not permitted'
    }


def test_the_last_connection_of_a_rank_counts(monkeypatch):
    connect, has_connected_again = rendezvous._connect, threading.Event()

    def connect_twice(secret, rank, *place):
        if rank == 2:  # late: rank 0 still listens when rank 1 connects again
            has_connected_again.wait(10)
            return connect(secret, rank, *place)
        connect(secret, rank, *place).close()
        peer = connect(secret, rank, *place)
        has_connected_again.set()
        return peer

    monkeypatch.setattr(rendezvous, '_connect', connect_twice)
    check_exchanged(run_ranks(3, exchange))


ALL_RANKS = """
import resource, socket, sys, time
from chainer_ssd.runtime.watchdog import rendezvous
port, size, secret = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
rendezvous._raise_open_file_limit(size)
peers = []
for rank in range(1, size):
    peers.append(socket.create_connection(('127.0.0.1', port)))
    peers[-1].sendall(rendezvous.HANDSHAKE.pack(secret[:16], rank))
assert all(peer.recv(16) == secret[16:] for peer in peers)
print('all answered', flush=True)
sys.stdin.read()
"""


def test_a_thousand_ranks_connect_if_1024_files_may_be_open():
    size, secret = 1024, bytes(range(32))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * size:
        pytest.skip(f'this system allows {hard} open files: 1,024 ranks need more')
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    peers = {}
    try:
        listener = rendezvous._listen(size)
        port = listener.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, '-c', ALL_RANKS, str(port), str(size), secret.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        ) as others:
            peers = rendezvous._accept(listener, secret, size)
            assert others.stdout.readline() == 'all answered\n'
            assert sorted(peers) == list(range(1, size))
    finally:
        for peer in peers.values():
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
