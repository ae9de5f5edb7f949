"""Attempts of a rank to connect to rank 0."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Any, Callable

from chainer_ssd.runtime.watchdog.handshake import Handshake, RefusedError


class Caller:
    """Opens connections to all addresses of rank 0 at once, and hands over the first with a proof.

    All addresses are tried at once, because some may lead nowhere and give no answer.

    Parameters
    ----------
    selector : selectors.BaseSelector
        Calls ``data()`` of its keys when they are ready.
    secret : bytes
        The secret of the job.
    rank : int
        Rank of this process.
    addresses : sequence of str
        Addresses of rank 0's host.
    port : int
        Port of rank 0.
    on_connection : callable
        Gets the socket of the connection.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        secret: bytes,
        rank: int,
        addresses: Sequence[str],
        port: int,
        on_connection: Callable[[socket.socket], None],
    ) -> None:
        self._selector, self._secret, self._rank = selector, secret, rank
        self._on_connection = on_connection
        self._port = port
        self._targets: list[tuple[str, int, Any]] = []
        self._unresolved: dict[str, str] = {}
        for address in addresses:
            self.add_target(address)
        self._open: dict[socket.socket, str] = {}
        self._proved: str | None = None  # the address that has led to rank 0
        self._errors: dict[str, str] = {}
        #: Since when rank 0's address has refused the connection. None while it may be reached.
        self.refused_since: float | None = None

    def add_target(self, name: str) -> None:
        """Try a further address or host name from the next attempt on."""
        try:
            found = socket.getaddrinfo(name, self._port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
            self._unresolved[name] = str(error)
            return
        self._targets.append((name, found[0], found[4]))

    def describe_errors(self) -> str:
        """Return each address with its error."""
        errors = {**self._errors, **self._unresolved}
        return ', '.join(f'{name}: {error}' for name, error in errors.items())

    def start(self) -> None:
        """Begin a new attempt, and give up the one before."""
        if self._proved in self._open.values():
            self.refused_since = None
        self.stop()
        self._errors = {}
        for name, family, address in self._targets:
            try:
                connection = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                self._errors[name] = str(error)
                continue
            connection.setblocking(False)
            code = connection.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                self._errors[name] = os.strerror(code)
                connection.close()
                continue
            self._open[connection] = name
            self._selector.register(
                connection, selectors.EVENT_WRITE, lambda each=connection: self._connected(each)
            )
        self._note_refusal()

    def stop(self) -> None:
        """Close the connections of the attempt under way."""
        for connection in list(self._open):
            self._errors[self._open[connection]] = 'no answer'
            self._close(connection)

    def sockets(self) -> list[socket.socket]:
        """Return all sockets, which a forked process must close."""
        return list(self._open)

    def _connected(self, connection: socket.socket) -> None:
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(connection, os.strerror(code))
            return
        try:
            handshake = Handshake(connection, self._secret, self._rank)
        except RefusedError as error:
            self._fail(connection, str(error))
            return
        self.refused_since = None
        self._selector.modify(
            connection, selectors.EVENT_READ, lambda: self._proceed(connection, handshake)
        )

    def _proceed(self, connection: socket.socket, handshake: Handshake) -> None:
        try:
            is_proved = handshake.proceed() is not None
        except RefusedError as error:
            self._fail(connection, str(error))
            return
        if is_proved:
            self._selector.unregister(connection)
            self._proved = self._open.pop(connection)
            self.stop()
            self._on_connection(connection)

    def _fail(self, connection: socket.socket, reason: str) -> None:
        self._errors[self._open[connection]] = reason
        self._close(connection)
        self._note_refusal()

    def _close(self, connection: socket.socket) -> None:
        del self._open[connection]
        self._selector.unregister(connection)
        connection.close()

    def _note_refusal(self) -> None:
        if self._errors.get(self._proved or '') == os.strerror(errno.ECONNREFUSED):
            self.refused_since = self.refused_since or time.monotonic()
