"""Rank 0's listening socket, which lets the ranks of the job in and nobody else."""

from __future__ import annotations

import selectors
import socket
import time
from typing import Callable

from chainer_ssd.runtime.open_files import raise_open_file_limit
from chainer_ssd.runtime.watchdog.handshake import Handshake, RefusedError

HANDSHAKE_SECONDS = 5  # for the proof of one connection
PAUSE_SECONDS = 0.2  # without accepting, when no more files can be opened
SPARE_STRANGERS = 64  # connections without a proof, beside two of each rank
ACCEPTED_AT_ONCE = 64
BACKLOG = 1024  # connections that wait to be accepted
OPENINGS_PER_RANK = 4  # files: one connection, and its attempts at several addresses


class Door:
    """Accepts connections at any time of the job, and hands over those of ranks.

    Other programs may connect too, and send nothing. The number of connections without a proof is
    limited, and so are their bytes and seconds. The oldest one is closed for a new one.

    Parameters
    ----------
    selector : selectors.BaseSelector
        Calls ``data()`` of its keys when they are ready.
    secret : bytes
        The secret of the job.
    size : int
        Number of ranks.
    port : int
        TCP port, 0 for any free one.
    address : str or None
        Address to listen on. None: all.
    on_rank : callable
        Gets the rank and the socket of each connection with a proof.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        secret: bytes,
        size: int,
        port: int,
        address: str | None,
        on_rank: Callable[[int, socket.socket], None],
    ) -> None:
        raise_open_file_limit(OPENINGS_PER_RANK * size + SPARE_STRANGERS)
        self._selector, self._secret, self._size, self._on_rank = selector, secret, size, on_rank
        self._max_strangers = 2 * size + SPARE_STRANGERS
        self._strangers: dict[Handshake, float] = {}  # the oldest one first
        self._listener = _listen(port, address)
        self._pause_end: float | None = None
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._listener.getsockname()[1]

    def check_time(self) -> None:
        """Close connections that have given no proof in time. Accept again after a pause."""
        now = time.monotonic()
        late = [each for each, began in self._strangers.items() if now > began + HANDSHAKE_SECONDS]
        for each in late:
            self._close(each)
        if self._pause_end is not None and now >= self._pause_end:
            self._pause_end = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close the listening socket and all connections without a proof."""
        for each in list(self._strangers):
            self._close(each)
        self._listener.close()

    def sockets(self) -> list[socket.socket]:
        """Return all sockets, which a forked process must close."""
        return [self._listener, *(each.connection for each in self._strangers)]

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # closed before it was accepted
                continue
            except OSError:  # no more files can be opened
                self._make_room()
                return
            if len(self._strangers) >= self._max_strangers:
                self._close(next(iter(self._strangers)))
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        handshake = Handshake(connection, self._secret, None)
        self._strangers[handshake] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._proceed(handshake))

    def _make_room(self) -> None:
        if self._strangers:
            self._close(next(iter(self._strangers)))
        else:
            self._selector.unregister(self._listener)
            self._pause_end = time.monotonic() + PAUSE_SECONDS

    def _proceed(self, handshake: Handshake) -> None:
        try:
            rank = handshake.proceed()
        except RefusedError:
            self._close(handshake)
            return
        if rank is None:
            return
        self._selector.unregister(handshake.connection)
        del self._strangers[handshake]
        if 0 < rank < self._size:
            self._on_rank(rank, handshake.connection)
        else:
            handshake.connection.close()

    def _close(self, handshake: Handshake) -> None:
        del self._strangers[handshake]
        self._selector.unregister(handshake.connection)
        handshake.connection.close()


def _listen(port: int, address: str | None) -> socket.socket:
    dual = address is None and socket.has_dualstack_ipv6()
    is_ipv6 = dual or ':' in (address or '')
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    try:
        listener = socket.create_server(
            (address or '', port), family=family, dualstack_ipv6=dual, backlog=BACKLOG
        )
    except OSError as error:
        where = f'port {port}' + (f' of {address}' if address else '')
        raise OSError(error.errno, f'cannot listen on {where}: {error.strerror}') from error
    listener.setblocking(False)
    return listener
