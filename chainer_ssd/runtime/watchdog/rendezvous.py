"""How the ranks of a job find each other by TCP, among strangers."""

import contextlib
import errno
import os
import secrets
import selectors
import socket
import struct
import time

from chainer_ssd.distributed.agreement import from_rank_0, raise_together
from chainer_ssd.runtime.watchdog.addresses import own_addresses

CONNECT = 30  # seconds for all ranks to connect
ANSWER = 10  # seconds of it that one who does not answer may take
CARD = struct.Struct('>16sI')  # what a rank says first: half of the secret, its rank


def connect_to_rank_0(comm):
    """Connects rank 0 with every other rank by TCP. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Two ranks or more.

    Returns
    -------
    dict of int to socket.socket
        By rank: on rank 0 all others, on the others rank 0; non-blocking.

    Raises
    ------
    RuntimeError
        On every rank, if one cannot reach rank 0: it names the addresses and what each answered.
    """
    invitation, error, peers = None, None, {}
    try:
        if comm.rank == 0:
            invitation = secrets.token_bytes(32), own_addresses(), socket.gethostname()
            listener = _listener(comm.size)
            invitation += (listener.getsockname()[1],)
    except Exception as found:  # whatever it is, the others must not wait for this rank
        error = found
    raise_together(comm, error)
    secret, *place = from_rank_0(comm, invitation)
    try:
        if comm.rank == 0:
            peers = _accept(listener, secret, comm.size)
        else:
            peers = {0: _connect(secret, comm.rank, *place)}
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


def _listener(backlog):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listener = socket.create_server(('', 0), family=family, dualstack_ipv6=dual, backlog=backlog)
    listener.setblocking(False)
    return listener


def _accept(listener, secret, size):
    # Strangers may connect too, and keep silent: all are listened to at once.
    _make_room(size)
    peers, end = {}, time.monotonic() + CONNECT
    with listener, selectors.DefaultSelector() as arriving:
        arriving.register(listener, selectors.EVENT_READ)
        while len(peers) < size - 1 and time.monotonic() < end:
            for key, _ in arriving.select(end - time.monotonic()):
                if key.fileobj is listener:
                    with contextlib.suppress(ConnectionError):  # gone before it was served
                        guest, _ = listener.accept()
                        guest.setblocking(False)
                        arriving.register(guest, selectors.EVENT_READ, b'')
                    continue
                guest, card = key.fileobj, key.data
                data = _received(guest, CARD.size - len(card))
                card += data
                if data and len(card) < CARD.size:
                    arriving.modify(guest, selectors.EVENT_READ, card)
                    continue
                arriving.unregister(guest)
                said, rank = CARD.unpack(card) if len(card) == CARD.size else (None, None)
                if said != secret[:16] or not _sent(guest, secret[16:]):
                    guest.close()
                    continue
                if rank in peers:  # it has called again
                    peers[rank].close()
                peers[rank] = guest
        _close([key.fileobj for key in arriving.get_map().values()])
    missing = sorted(set(range(1, size)) - peers.keys())
    if missing:
        _close(peers.values())
        raise TimeoutError(
            f'ranks {missing} did not connect to {own_addresses()} within {CONNECT} s'
        )
    return peers


def _connect(secret, rank, addresses, host, port):
    errors, end = [], time.monotonic() + CONNECT
    for names in addresses, [host]:  # a name server may keep one waiting
        with contextlib.closing(_calls(names, port, end, errors)) as calls:
            for name, peer in calls:
                with contextlib.suppress(OSError):
                    peer.settimeout(ANSWER)
                    peer.sendall(CARD.pack(secret[:16], rank))
                    if peer.recv(16, socket.MSG_WAITALL) == secret[16:]:
                        return peer
                errors.append(f'{name}: a stranger answers')
                peer.close()
    raise ConnectionError(f'cannot reach rank 0 at port {port} of ' + ', '.join(errors))


def _calls(names, port, end, errors):
    """Yields names and sockets as they connect; calls all at once: some may lead nowhere."""
    with selectors.DefaultSelector() as calling:
        for name in names:
            try:
                family, kind, _, _, address = socket.getaddrinfo(
                    name, port, type=socket.SOCK_STREAM
                )[0]
                peer = socket.socket(family, kind)
            except (OSError, UnicodeError) as error:  # UnicodeError: no host can be called so
                errors.append(f'{name}: {error}')
                continue
            peer.setblocking(False)
            code = peer.connect_ex(address)
            if code in (0, errno.EINPROGRESS):
                calling.register(peer, selectors.EVENT_WRITE, name)
            else:
                errors.append(f'{name}: {os.strerror(code)}')
                peer.close()
        try:
            while calling.get_map() and time.monotonic() < end:
                for key, _ in calling.select(end - time.monotonic()):
                    calling.unregister(key.fileobj)
                    code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        errors.append(f'{key.data}: {os.strerror(code)}')
                        key.fileobj.close()
                    else:
                        yield key.data, key.fileobj
        finally:
            for key in list(calling.get_map().values()):
                errors.append(f'{key.data}: no answer')
                key.fileobj.close()


def _make_room(size):
    """Allows as many more open files as there are ranks, where the system lets it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        room = soft + size
        resource.setrlimit(
            resource.RLIMIT_NOFILE,
            (room if hard == resource.RLIM_INFINITY else min(room, hard), hard),
        )


def _close(sockets):
    for each in sockets:
        each.close()


def _received(peer, size):
    """What has come of at most ``size`` bytes; nothing if the connection ended."""
    try:
        return peer.recv(size)
    except OSError:
        return b''


def _sent(peer, data):
    try:
        return peer.send(data) == len(data)
    except OSError:
        return False
