"""Messages between ranks over TCP: any thread may send them while MPI blocks."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import time
import weakref
from collections.abc import Callable
from typing import Any

from chainer_ssd._options import check_integer
from chainer_ssd.distributed import Communicator, from_rank_0, raise_together
from chainer_ssd.runtime.watchdog.addresses import LOOPBACK, host_identity, own_addresses
from chainer_ssd.runtime.watchdog.caller import Caller
from chainer_ssd.runtime.watchdog.door import Door
from chainer_ssd.runtime.watchdog.link import Link

CONNECT_SECONDS = 30  # for all ranks to connect at the start
HOST_NAME_SECONDS = 3  # before the host name is tried, because a name server may be slow
CLOSE_SECONDS = 5  # how long rank 0 blocks until the other ranks close their connections
ATTEMPT_SECONDS = 0.5  # between two attempts to connect
ATTEMPTS_PER_SECOND = 500  # of all ranks together
CLOSED_SECONDS = 1.0  # after its connection was closed, a rank that does not come back is dead
RESET_SECONDS = 5.0  # the same after an error of the connection
SILENT_FRACTION = 0.2  # of the timeout, after which a rank connects to rank 0 again
SECRET_BYTES = 32


class Messenger:
    """JSON messages over TCP between rank 0 and every other rank.

    Rank 0 listens during the whole job. A rank that loses its connection, or hears nothing for a
    part of the timeout, connects again. Messages that were not sent are sent then.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        All its ranks construct this object together. It is not used afterwards. None means one
        rank.
    timeout : float
        Seconds without messages after which the job has failed.
    port : int
        TCP port on which rank 0 listens. 0: any free port.
    interface : str or None
        Name or address of the network interface on which rank 0 listens. None: all.

    Raises
    ------
    RuntimeError
        On every rank, if one cannot reach rank 0, or an argument is not valid.
    """

    def __init__(
        self,
        comm: Communicator | None,
        timeout: float = 600,
        port: int = 0,
        interface: str | None = None,
    ) -> None:
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self._selector = selectors.DefaultSelector()
        self._messages: list[tuple[int, Any]] = []
        self._door: Door | None = None
        self._caller: Caller | None = None
        others = range(1, self.size) if self.rank == 0 else range(1)
        self._links: dict[int, Link] = {rank: Link() for rank in others if self.size > 1}
        self._lost: dict[int, float] = {}  # when a rank without a connection is dead
        self._attempt_seconds = max(ATTEMPT_SECONDS, self.size / ATTEMPTS_PER_SECOND)
        self._silent_seconds = max(timeout * SILENT_FRACTION, 2 * self._attempt_seconds)
        self._reset_seconds = min(RESET_SECONDS + self._attempt_seconds, timeout)
        self._last_received = self._next_attempt = time.monotonic()
        self._wake: list[socket.socket] = []  # what wake() sends to, and what it wakes
        # A worker may outlive its rank, and must not keep the connection open. A function that is
        # registered at fork stays registered for ever, so it holds a weak reference only.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close_if_alive(reference))
        try:
            self._meet(comm, port, interface)
        except BaseException:
            self.close()
            raise

    def send(self, message: Any, is_last: bool = False) -> None:
        """Send to rank 0, or from rank 0 to all. Never blocks.

        The last message of a job is repeated if a rank connects again.
        """
        for link in self._links.values():
            link.send(message, is_last)

    def receive(self, timeout: float) -> list[tuple[int, Any]]:
        """Block until messages arrive, at most ``timeout`` seconds.

        Returns
        -------
        list of (int, object)
            Rank and message. The message is None, once, if the rank is dead.
        """
        end = time.monotonic() + max(0, timeout)
        while True:
            events = self._selector.select(max(0, min(end, self._next_time()) - time.monotonic()))
            is_woken = False
            for key, _ in events:
                is_woken |= key.fileobj is self._wake[1]
                peer: Any = key.fileobj
                if peer.fileno() >= 0:  # not closed by an event before it
                    key.data()
            self._check_time()
            if self._messages or is_woken or time.monotonic() >= end:
                messages, self._messages = self._messages, []
                return messages

    def wake(self) -> None:
        """Make ``receive`` return now in the thread that it blocks."""
        with contextlib.suppress(OSError):
            self._wake[0].send(b'!')

    def close_in_order(self) -> None:
        """Close all connections, rank 0 last, so that other ranks can read all messages."""
        end = time.monotonic() + CLOSE_SECONDS
        while self.rank == 0 and time.monotonic() < end:
            if all(link.connection is None for link in self._links.values()):
                break
            self.receive(min(0.1, end - time.monotonic()))
        self.close()

    def close(self) -> None:
        """Close all connections at once."""
        sockets = list(self._wake)
        if self._door is not None:
            sockets += self._door.sockets()
        if self._caller is not None:
            sockets += self._caller.sockets()
        for each in sockets:
            each.close()
        for link in self._links.values():
            link.close()
        self._selector.close()

    def _meet(self, comm: Communicator | None, port: int, interface: str | None) -> None:
        """Connect rank 0 with every other rank. A collective call."""
        error: Exception | None = None
        contact: tuple[Any, ...] | None = None
        try:
            check_integer('port', port, 0, 65535)
            self._wake += socket.socketpair()
            for end in self._wake:
                end.setblocking(False)
            self._selector.register(self._wake[1], selectors.EVENT_READ, self._read_wake)
            if self.rank == 0 and self.size > 1:
                secret, addresses = secrets.token_bytes(SECRET_BYTES), own_addresses(interface)
                address = None if interface is None else addresses[0]
                self._door = Door(
                    self._selector, secret, self.size, port, address, self._use_connection
                )
                contact = secret, addresses, self._door.port, host_identity(), socket.gethostname()
        except Exception as found:  # any error must reach the other ranks, which block otherwise
            error = found
        raise_together(comm, error)
        if comm is None or self.size == 1:
            return
        secret, addresses, port, identity, host = from_rank_0(comm, contact)
        try:
            if self.rank:
                self._call(secret, addresses, port, identity, host if interface is None else None)
            else:
                self._wait_for(lambda: not self._missing())
            if self._missing():
                ranks = f'ranks {self._missing()} did not connect to port {port} of '
                raise TimeoutError(f'{ranks}{addresses} within {CONNECT_SECONDS} s')
        except Exception as found:
            error = found
        raise_together(comm, error)
        self._last_received = time.monotonic()

    def _call(
        self, secret: bytes, addresses: list[str], port: int, identity: str, host: str | None
    ) -> None:
        """Connect to rank 0."""
        if identity == host_identity():
            addresses = [LOOPBACK, *addresses]
        else:  # the loopback address names this host here
            addresses = [address for address in addresses if not address.startswith('127.')]

        def use(connection: socket.socket) -> None:
            self._use_connection(0, connection)

        self._caller = Caller(self._selector, secret, self.rank, addresses, port, use)
        self._wait_for(lambda: not self._missing(), HOST_NAME_SECONDS if host else None)
        if self._missing() and host:
            self._caller.add_target(host)
            self._wait_for(lambda: not self._missing())
        if self._missing():
            self._caller.stop()
            tried = self._caller.describe_errors() or addresses
            raise ConnectionError(f'cannot reach rank 0 at port {port} of {tried}')

    def _wait_for(self, is_done: Callable[[], bool], seconds: float | None = None) -> None:
        end, early = time.monotonic() + (seconds or CONNECT_SECONDS), []
        while not is_done() and time.monotonic() < end:
            early += self.receive(min(0.1, max(0, end - time.monotonic())))
        self._messages = early + self._messages

    def _missing(self) -> list[int]:
        return [rank for rank, link in self._links.items() if link.connection is None]

    def _use_connection(self, rank: int, connection: socket.socket) -> None:
        link = self._links[rank]
        if link.connection is not None:
            self._selector.unregister(link.connection)
        old = link.replace(connection)
        if old is not None:
            old.close()
        self._lost.pop(rank, None)
        self._last_received = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(rank))

    def _read(self, rank: int) -> None:
        link = self._links[rank]
        messages, end = link.receive()
        if messages:
            self._last_received = time.monotonic()
            self._messages += [(rank, message) for message in messages]
        if end is not None and link.connection is not None:
            self._selector.unregister(link.connection)
            link.close()
            seconds = CLOSED_SECONDS if end == 'closed' else self._reset_seconds
            self._lost[rank] = time.monotonic() + seconds
            self._next_attempt = time.monotonic()

    def _read_wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake[1].recv(1 << 10)

    def _next_time(self) -> float:
        """Return when ``_check_time`` has something to do."""
        times = [*self._lost.values()]
        if self._door is not None:
            times.append(time.monotonic() + 1)
        if self._caller is not None:
            times.append(self._next_attempt if self._needs_connection() else self._silence_end())
        return min(times, default=float('inf'))

    def _check_time(self) -> None:
        now = time.monotonic()
        if self._door is not None:
            self._door.check_time()
        if self._caller is not None:
            if self._needs_connection() and now >= self._next_attempt:
                self._caller.start()
                self._next_attempt = now + self._attempt_seconds
            refused = self._caller.refused_since
            if 0 in self._lost and refused is not None and now > refused + CLOSED_SECONDS:
                self._lost[0] = now
        for rank in [rank for rank, end in self._lost.items() if now >= end]:
            if rank == 0 and self._caller is not None and self._caller.refused_since is None:
                self._lost[rank] = now + ATTEMPT_SECONDS  # an address may still be reached
                continue
            del self._lost[rank]
            self._messages.append((rank, None))

    def _needs_connection(self) -> bool:
        return self._links[0].connection is None or time.monotonic() >= self._silence_end()

    def _silence_end(self) -> float:
        return self._last_received + self._silent_seconds


def _close_if_alive(reference: weakref.ref[Messenger]) -> None:
    messenger = reference()
    if messenger is not None:
        messenger.close()
