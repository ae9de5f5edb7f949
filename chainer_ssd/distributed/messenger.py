"""Messages between ranks that MPI does not see: any thread may send them while MPI blocks."""
import contextlib
import json
import os
import resource
import secrets
import selectors
import socket
import struct
import time

from chainer_ssd.distributed.agreement import from_rank_0, raise_together

CONNECT = 30  # seconds for all ranks to connect
SIOCGIFADDR = 0x8915  # Linux: the address of a network interface
MAX_PENDING = 1 << 16  # bytes kept for a rank that does not read; what follows is dropped


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
        self._peers, self._received, self._pending = {}, {}, {}
        self._selector = selectors.DefaultSelector()
        self._wake, waker = socket.socketpair()
        self._selector.register(waker, selectors.EVENT_READ, None)
        self._sockets = [self._wake, waker]
        os.register_at_fork(after_in_child=self.close)  # a worker may outlive its rank
        if self.size == 1:
            return
        error = None
        with _listener(self.size) if self.rank == 0 else contextlib.nullcontext() as listener:
            invitation = from_rank_0(comm, self.rank == 0 and (
                secrets.token_hex(16), _addresses(), listener.getsockname()[1]))
            try:
                if self.rank == 0:
                    self._accept(listener, invitation[0])
                else:
                    self._connect(*invitation)
            except OSError as found:
                error = found
        raise_together(comm, error)

    def _accept(self, listener, token):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:  # room for a connection of each rank
            room = soft + self.size
            resource.setrlimit(resource.RLIMIT_NOFILE, (
                room if hard == resource.RLIM_INFINITY else min(room, hard), hard))
        end = time.monotonic() + CONNECT
        while len(self._peers) < self.size - 1:
            listener.settimeout(max(0.01, end - time.monotonic()))
            try:
                peer, _ = listener.accept()
            except socket.timeout:
                missing = sorted(set(range(1, self.size)) - self._peers.keys())
                raise TimeoutError(f'ranks {missing} did not connect to {_addresses()} '
                                   f'within {CONNECT} s') from None
            rank = _greet(peer, [token, 0])
            if rank is not None:  # a stranger has another token
                self._add(rank, peer)

    def _connect(self, token, addresses, port):
        errors = []
        for address in addresses:
            try:
                peer = socket.create_connection((address, port), timeout=5)
            except OSError as error:
                errors.append(f'{address}: {error}')
                continue
            if _greet(peer, [token, self.rank]) == 0:
                self._add(0, peer)
                return
            errors.append(f'{address}: a stranger answers')
        raise ConnectionError(f'cannot reach rank 0 at port {port} of ' + ', '.join(errors))

    def _add(self, rank, peer):
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[rank], self._received[rank], self._pending[rank] = peer, b'', b''
        self._sockets.append(peer)
        self._selector.register(peer, selectors.EVENT_READ, rank)

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

    def close(self):
        """Closes all connections."""
        for each in self._sockets:
            each.close()


def _listener(backlog):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(('', 0), family=family, dualstack_ipv6=dual, backlog=backlog)


def _addresses():
    """Where this host may be reached: every interface's address, the loopback last."""
    import fcntl
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an IPv4 address
                request = struct.pack('256s', name[:15].encode())
                found.append(socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24]))
    return sorted({*found, socket.gethostname()}, key=lambda address: address.startswith('127.'))


def _greet(peer, card):
    """Swaps [token, rank]; the other's rank, or None if it is a stranger."""
    try:
        peer.settimeout(5)
        peer.sendall(json.dumps(card).encode() + b'\n')
        line = b''
        while not line.endswith(b'\n') and len(line) < 200:
            byte = peer.recv(1)  # nothing of what follows the card
            if not byte:
                break
            line += byte
        token, rank = json.loads(line)
    except (OSError, ValueError, TypeError):
        token = rank = None
    if token == card[0]:
        return rank
    peer.close()
    return None
