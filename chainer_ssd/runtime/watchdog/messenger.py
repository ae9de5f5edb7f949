"""Messages between ranks over TCP: any thread may send them while MPI blocks."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
import weakref
from typing import Any

from chainer_ssd.distributed import Communicator, raise_together
from chainer_ssd.runtime.watchdog.rendezvous import connect_to_rank_0

MAX_PENDING_BYTES = 1 << 16  # kept for a rank that does not read, later messages are dropped
MAX_READ_BYTES = 1 << 16
CLOSE_SECONDS = 5  # how long rank 0 blocks until the other ranks close their connections


class Messenger:
    """JSON messages over TCP between rank 0 and every other rank.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        All its ranks construct this object together. It is not used afterwards. None means one
        rank.

    Raises
    ------
    RuntimeError
        On every rank, if one cannot reach rank 0.
    """

    def __init__(self, comm: Communicator | None) -> None:
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self._peers: dict[int, socket.socket] = {}
        if comm is not None and self.size > 1:
            self._peers = connect_to_rank_0(comm)
        error = None
        try:
            self._selector = selectors.DefaultSelector()
            self._wake_sender, self._wake_receiver = socket.socketpair()
            self._wake_sender.setblocking(False)
        except OSError as found:
            error = found
        raise_together(comm, error)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, None)
        for rank, peer in self._peers.items():
            self._selector.register(peer, selectors.EVENT_READ, rank)
        self._received = dict.fromkeys(self._peers, b'')
        self._pending = dict.fromkeys(self._peers, b'')
        # A worker may outlive its rank, and must not keep the connection open. A function that is
        # registered at fork stays registered for ever, so it holds a weak reference only.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close_if_alive(reference))

    def send(self, message: Any) -> None:
        """Send to rank 0, or from rank 0 to all. Never blocks."""
        line = json.dumps(message).encode() + b'\n'
        for rank, peer in self._peers.items():
            if len(self._pending[rank]) < MAX_PENDING_BYTES:
                self._pending[rank] += line
            with contextlib.suppress(OSError):
                sent = peer.send(self._pending[rank])
                self._pending[rank] = self._pending[rank][sent:]

    def receive(self, timeout: float) -> list[tuple[int, Any]]:
        """Block until messages arrive, at most ``timeout`` seconds.

        Returns
        -------
        list of (int, object)
            Rank and message. The message is None, once, if the connection has closed.
        """
        messages: list[tuple[int, Any]] = []
        for key, _ in self._selector.select(max(0, timeout)):
            rank = key.data
            peer: Any = key.fileobj
            try:
                data = peer.recv(MAX_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b''
            if rank is None:  # wake()
                continue
            *lines, self._received[rank] = (self._received[rank] + data).split(b'\n')
            messages += [(rank, json.loads(line)) for line in lines]
            if not data:
                self._selector.unregister(peer)
                messages.append((rank, None))
        return messages

    def wake(self) -> None:
        """Make ``receive`` return now in the thread that it blocks."""
        with contextlib.suppress(OSError):
            self._wake_sender.send(b'!')

    def close_in_order(self) -> None:
        """Close all connections, rank 0 last, so that other ranks can read all messages."""
        end = time.monotonic() + CLOSE_SECONDS
        while self.rank == 0 and len(self._selector.get_map()) > 1 and time.monotonic() < end:
            self.receive(end - time.monotonic())
        self.close()

    def close(self) -> None:
        """Close all connections at once."""
        for each in (self._wake_sender, self._wake_receiver, *self._peers.values()):
            each.close()
        self._selector.close()


def _close_if_alive(reference: weakref.ref[Messenger]) -> None:
    messenger = reference()
    if messenger is not None:
        messenger.close()
