"""Mutual proof that both ends of a TCP connection know the secret of the job.

Neither end sends the secret. Each sends a random number and the HMAC-SHA256 of both numbers, the
rank, and the addresses and ports of the connection. A program that relays the bytes has two
connections with other addresses or ports, so the proofs do not fit.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import struct
from collections.abc import Generator

NONCE_BYTES = MAC_BYTES = 32
HELLO = struct.Struct(f'>I{NONCE_BYTES}s')  # rank, random number


class RefusedError(Exception):
    """The other end has closed the connection, or does not know the secret."""


class Handshake:
    """One end's part of the proof, on a connected non-blocking socket.

    Parameters
    ----------
    connection : socket.socket
        The connection.
    secret : bytes
        The secret that MPI has given to all ranks.
    rank : int or None
        Rank of this process, if it has opened the connection. None at rank 0, which has accepted
        it.
    """

    def __init__(self, connection: socket.socket, secret: bytes, rank: int | None) -> None:
        self.connection, self._secret = connection, secret
        self._steps = self._answer() if rank is None else self._open(rank)
        self._needed, self._received = next(self._steps), b''

    def proceed(self) -> int | None:
        """Read what has arrived. Return the rank of the process that opened it, after the proof.

        Raises
        ------
        RefusedError
            See the class.
        """
        try:
            data = self.connection.recv(self._needed - len(self._received))
        except BlockingIOError:
            return None
        except OSError as error:
            raise RefusedError(str(error)) from error
        if not data:
            raise RefusedError('another program answers, or rank 0 refuses the connection')
        self._received += data
        if len(self._received) < self._needed:
            return None
        try:
            self._needed, self._received = self._steps.send(self._received), b''
        except StopIteration as end:
            return end.value
        return None

    def _open(self, rank: int) -> Generator[int, bytes, int]:
        own = secrets.token_bytes(NONCE_BYTES)
        self._send(HELLO.pack(rank, own))
        answer = yield NONCE_BYTES + MAC_BYTES
        other, proof = answer[:NONCE_BYTES], answer[NONCE_BYTES:]
        self._check(proof, self._mac(b'rank 0', rank, own, other))
        self._send(self._mac(b'rank', rank, own, other))
        return rank

    def _answer(self) -> Generator[int, bytes, int]:
        rank, other = HELLO.unpack((yield HELLO.size))
        own = secrets.token_bytes(NONCE_BYTES)
        self._send(own + self._mac(b'rank 0', rank, other, own))
        self._check((yield MAC_BYTES), self._mac(b'rank', rank, other, own))
        return rank

    def _mac(self, role: bytes, rank: int, nonce: bytes, nonce_of_rank_0: bytes) -> bytes:
        ends = sorted(map(_describe_end, self._ends()))
        text = b'|'.join((role, str(rank).encode(), *ends)) + nonce + nonce_of_rank_0
        return hmac.digest(self._secret, text, 'sha256')

    def _ends(self) -> tuple[tuple, tuple]:
        try:
            return self.connection.getsockname(), self.connection.getpeername()
        except OSError as error:
            raise RefusedError(str(error)) from error

    def _check(self, found: bytes, expected: bytes) -> None:
        if not hmac.compare_digest(found, expected):
            raise RefusedError('another program answers')

    def _send(self, data: bytes) -> None:
        try:
            sent = self.connection.send(data)  # fits into the empty buffer of a new connection
        except OSError as error:
            raise RefusedError(str(error)) from error
        if sent != len(data):
            raise RefusedError('the connection takes no data')


def _describe_end(end: tuple) -> bytes:
    """Return address and port. One address can be written as IPv4 and as IPv6."""
    address = ipaddress.ip_address(end[0].partition('%')[0])
    address = getattr(address, 'ipv4_mapped', None) or address
    return f'{address} {end[1]}'.encode()
