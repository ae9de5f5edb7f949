"""TCP connections between the ranks of a job, on a network with other programs.

Rank 0 listens, and MPI broadcasts its addresses and a secret. Each other rank connects and sends
the first half of the secret with its number. Rank 0 answers with the second half.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Generator, Iterable
from typing import Any, cast

from chainer_ssd.distributed import Communicator, from_rank_0, raise_together
from chainer_ssd.runtime.watchdog.addresses import own_addresses

CONNECT_SECONDS = 30  # for all ranks to connect
HANDSHAKE_SECONDS = 10  # for the answer of one program that accepts the connection
HALF_BYTES = 16  # of the secret
HANDSHAKE = struct.Struct(f'>{HALF_BYTES}sI')  # the first half of the secret, the rank


def connect_to_rank_0(comm: Communicator) -> dict[int, socket.socket]:
    """Connect rank 0 with every other rank by TCP. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        A communicator of two ranks or more.

    Returns
    -------
    dict of int to socket.socket
        Non-blocking sockets by rank: on rank 0 to all others, on the others to rank 0.

    Raises
    ------
    RuntimeError
        On every rank, if one cannot reach rank 0. The message names each address and its error.
    """
    contact: tuple[Any, ...] | None = None
    error: Exception | None = None
    peers: dict[int, socket.socket] = {}
    try:
        if comm.rank == 0:
            contact = secrets.token_bytes(2 * HALF_BYTES), own_addresses(), socket.gethostname()
            listener = _listen(comm.size)
            contact += (listener.getsockname()[1],)
    except Exception as found:  # any error must reach the other ranks, which block otherwise
        error = found
    raise_together(comm, error)
    secret, addresses, host, port = from_rank_0(comm, contact)
    try:
        if comm.rank == 0:
            peers = _accept(listener, secret, comm.size)
        else:
            peers = {0: _connect(secret, comm.rank, addresses, host, port)}
        for peer in peers.values():
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except Exception as found:
        error = found
    try:
        raise_together(comm, error)
    except RuntimeError:
        _close(peers.values())
        raise
    return peers


def _listen(backlog: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listener = socket.create_server(('', 0), family=family, dualstack_ipv6=dual, backlog=backlog)
    listener.setblocking(False)
    return listener


def _accept(listener: socket.socket, secret: bytes, size: int) -> dict[int, socket.socket]:
    """Return the connections of all other ranks, by rank.

    Other programs may connect too, and send nothing. All connections are therefore read at once.
    """
    _raise_open_file_limit(size)
    peers: dict[int, socket.socket] = {}
    end = time.monotonic() + CONNECT_SECONDS
    with listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while len(peers) < size - 1 and time.monotonic() < end:
            for key, _ in selector.select(end - time.monotonic()):
                if key.fileobj is listener:
                    with contextlib.suppress(ConnectionError):  # closed before it was accepted
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        selector.register(connection, selectors.EVENT_READ, b'')
                    continue
                connection, received = cast(socket.socket, key.fileobj), key.data
                data = _receive(connection, HANDSHAKE.size - len(received))
                received += data
                if data and len(received) < HANDSHAKE.size:
                    selector.modify(connection, selectors.EVENT_READ, received)
                    continue
                selector.unregister(connection)
                half, rank = None, -1
                if len(received) == HANDSHAKE.size:
                    half, rank = HANDSHAKE.unpack(received)
                if half != secret[:HALF_BYTES] or not _send(connection, secret[HALF_BYTES:]):
                    connection.close()
                    continue
                if rank in peers:  # the rank has connected again
                    peers[rank].close()
                peers[rank] = connection
        _close([key.fileobj for key in selector.get_map().values()])
    missing = sorted(set(range(1, size)) - peers.keys())
    if missing:
        _close(peers.values())
        raise TimeoutError(
            f'ranks {missing} did not connect to {own_addresses()} within {CONNECT_SECONDS} s'
        )
    return peers


def _connect(secret: bytes, rank: int, addresses: list[str], host: str, port: int) -> socket.socket:
    """Return a connection to rank 0 at one of its addresses, or at its host name."""
    errors: list[str] = []
    end = time.monotonic() + CONNECT_SECONDS
    for names in addresses, [host]:  # the host name last, because a name server may be slow
        with contextlib.closing(_open_connections(names, port, end, errors)) as connections:
            for name, peer in connections:
                with contextlib.suppress(OSError):
                    peer.settimeout(HANDSHAKE_SECONDS)
                    peer.sendall(HANDSHAKE.pack(secret[:HALF_BYTES], rank))
                    if peer.recv(HALF_BYTES, socket.MSG_WAITALL) == secret[HALF_BYTES:]:
                        return peer
                errors.append(f'{name}: another program answers')
                peer.close()
    raise ConnectionError(f'cannot reach rank 0 at port {port} of ' + ', '.join(errors))


def _open_connections(
    names: Iterable[str], port: int, end: float, errors: list[str]
) -> Generator[tuple[str, socket.socket], None, None]:
    """Yield names and sockets as they connect.

    All names are tried at once, because some addresses may lead nowhere and give no answer.
    """
    with selectors.DefaultSelector() as selector:
        for name in names:
            try:
                family, kind, _, _, address = socket.getaddrinfo(
                    name, port, type=socket.SOCK_STREAM
                )[0]
                peer = socket.socket(family, kind)
            except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
                errors.append(f'{name}: {error}')
                continue
            peer.setblocking(False)
            code = peer.connect_ex(address)
            if code in (0, errno.EINPROGRESS):
                selector.register(peer, selectors.EVENT_WRITE, name)
            else:
                errors.append(f'{name}: {os.strerror(code)}')
                peer.close()
        try:
            while selector.get_map() and time.monotonic() < end:
                for key, _ in selector.select(end - time.monotonic()):
                    peer = cast(socket.socket, key.fileobj)
                    selector.unregister(peer)
                    code = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        errors.append(f'{key.data}: {os.strerror(code)}')
                        peer.close()
                    else:
                        yield key.data, peer
        finally:
            for key in list(selector.get_map().values()):
                errors.append(f'{key.data}: no answer')
                cast(socket.socket, key.fileobj).close()


def _raise_open_file_limit(size: int) -> None:
    """Allow as many more open files as there are ranks, up to the limit of the system."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        limit = soft + size if hard == resource.RLIM_INFINITY else min(soft + size, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _close(sockets: Iterable[Any]) -> None:
    for each in sockets:
        each.close()


def _receive(peer: socket.socket, size: int) -> bytes:
    """Return at most ``size`` bytes that have arrived. None of them if the connection closed."""
    try:
        return peer.recv(size)
    except OSError:
        return b''


def _send(peer: socket.socket, data: bytes) -> bool:
    """Return whether all bytes were sent without blocking."""
    try:
        return peer.send(data) == len(data)
    except OSError:
        return False
