"""One connection that carries messages, as lines of JSON."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from typing import Any

MAX_PENDING_BYTES = 1 << 16  # kept for a rank that does not read, later messages are dropped
MAX_LINE_BYTES = 1 << 16
READ_BYTES = 1 << 16


class Link:
    """Messages to and from one other rank. Its connection may be replaced."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self._unsent: deque[bytes] = deque()
        self._n_sent_of_first = 0
        self._received = b''
        self._last: bytes | None = None

    def replace(self, connection: socket.socket) -> socket.socket | None:
        """Use a new connection, and return the old one. Nothing pending is lost."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        old, self.connection = self.connection, connection
        self._received, self._n_sent_of_first = b'', 0
        if self._last is not None and self._last not in self._unsent:
            self._unsent.append(self._last)
        self.flush()
        return old

    def send(self, message: Any, is_last: bool = False) -> None:
        """Send a message without blocking. The last one of a job is repeated if needed."""
        line = json.dumps(message).encode() + b'\n'
        if is_last:
            self._last = line
        if is_last or sum(map(len, self._unsent)) < MAX_PENDING_BYTES:
            self._unsent.append(line)
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        while self._unsent and self.connection is not None:
            rest = self._unsent[0][self._n_sent_of_first :]
            try:
                n_sent = self.connection.send(rest)
            except OSError:  # also if it would block
                return
            self._n_sent_of_first += n_sent
            if n_sent == len(rest):
                self._unsent.popleft()
                self._n_sent_of_first = 0

    def receive(self) -> tuple[list[Any], str | None]:
        """Return the messages that have arrived, and how the connection has ended, if so."""
        if self.connection is None:
            return [], None
        try:
            data = self.connection.recv(READ_BYTES)
        except BlockingIOError:
            return [], None
        except OSError as error:
            return [], error.strerror or str(error)
        if not data:
            return [], 'closed'
        *lines, self._received = (self._received + data).split(b'\n')
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return [], 'not a message'
        if len(self._received) > MAX_LINE_BYTES:
            return messages, 'a message is too long'
        return messages, None

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()
        self.connection = None
