"""Messages between ranks that MPI does not see: any thread may send them while MPI blocks."""

import contextlib
import json
import os
import selectors
import socket
import time
import weakref

from chainer_ssd.distributed.agreement import raise_together
from chainer_ssd.runtime.watchdog.rendezvous import connect_to_rank_0

MAX_PENDING = 1 << 16  # bytes kept for a rank that does not read; what follows is dropped
FAREWELL = 5  # seconds that rank 0 waits for the others to hang up


class Messenger:
    """JSON messages over TCP between rank 0 and every other rank.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        All its ranks construct this together; afterwards it is not used. None: one rank.

    Raises
    ------
    RuntimeError
        On every rank, if one cannot reach rank 0.
    """

    def __init__(self, comm):
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self._peers, error = connect_to_rank_0(comm) if self.size > 1 else {}, None
        try:
            self._selector = selectors.DefaultSelector()
            self._wake, self._woken = socket.socketpair()
            self._wake.setblocking(False)
        except OSError as found:
            error = found
        raise_together(comm, error)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        for rank, peer in self._peers.items():
            self._selector.register(peer, selectors.EVENT_READ, rank)
        self._received = dict.fromkeys(self._peers, b'')
        self._pending = dict.fromkeys(self._peers, b'')
        messenger = weakref.ref(self)  # what is registered at fork stays so for ever
        os.register_at_fork(  # a worker may outlive its rank
            after_in_child=lambda: messenger() and messenger().close()
        )

    def send(self, message):
        """Sends to rank 0, or from rank 0 to all; never waits for a rank that does not read."""
        line = json.dumps(message).encode() + b'\n'
        for rank, peer in self._peers.items():
            if len(self._pending[rank]) < MAX_PENDING:
                self._pending[rank] += line
            with contextlib.suppress(OSError):
                sent = peer.send(self._pending[rank])
                self._pending[rank] = self._pending[rank][sent:]

    def receive(self, timeout):
        """Waits at most ``timeout`` seconds for messages.

        Returns
        -------
        list of (int, object)
            Rank and message; the message is None, once, if the connection ended.
        """
        messages = []
        for key, _ in self._selector.select(max(0, timeout)):
            rank = key.data
            try:
                data = key.fileobj.recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                data = b''
            if rank is None:
                continue  # woken up
            *lines, self._received[rank] = (self._received[rank] + data).split(b'\n')
            messages += [(rank, json.loads(line)) for line in lines]
            if not data:
                self._selector.unregister(key.fileobj)
                messages.append((rank, None))
        return messages

    def wake(self):
        """Lets another thread's ``receive`` return now."""
        with contextlib.suppress(OSError):
            self._wake.send(b'!')

    def hang_up(self):
        """Closes all connections, rank 0 last: what the others have not read yet is not lost."""
        end = time.monotonic() + FAREWELL
        while self.rank == 0 and len(self._selector.get_map()) > 1 and time.monotonic() < end:
            self.receive(end - time.monotonic())
        self.close()

    def close(self):
        """Closes all connections at once."""
        for each in self._wake, self._woken, *self._peers.values(), self._selector:
            each.close()
