"""Network addresses of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct

SIOCGIFADDR = 0x8915  # Linux request code: the address of a network interface
LOOPBACK = '127.0.0.1'


def own_addresses(interface: str | None = None) -> list[str]:
    """Return the addresses of this host's network interfaces, without a name server.

    Parameters
    ----------
    interface : str, optional
        Name of an interface, or an address. Default: all interfaces.

    Returns
    -------
    list of str
        IPv4 and global IPv6 addresses, the loopback address last.

    Raises
    ------
    ValueError
        If no interface of this host has that name or address.
    """
    found = _addresses_by_interface()
    everything = {address for addresses in found.values() for address in addresses}
    everything.add(LOOPBACK)
    if interface is None:
        return sorted(everything, key=lambda address: address.startswith('127.'))
    chosen = [interface] if interface in everything else sorted(found.get(interface, ()))
    if not chosen:
        raise ValueError(
            f'interface = {interface!r}: expected one of {sorted(found)}, or an address of them'
        )
    return chosen


def host_identity() -> str:
    """Return a text that two processes share if the loopback address leads one to the other."""
    parts = []
    for path in ('/proc/sys/kernel/random/boot_id', '/proc/self/ns/net'):
        with contextlib.suppress(OSError):
            if os.path.islink(path):
                parts.append(os.readlink(path))
            else:
                with open(path) as file:
                    parts.append(file.read().strip())
    return ' '.join(parts) or socket.gethostname()


def _addresses_by_interface() -> dict[str, set[str]]:
    import fcntl

    found: dict[str, set[str]] = {name: set() for _, name in socket.if_nameindex()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name, addresses in found.items():
            with contextlib.suppress(OSError):  # an interface without an IPv4 address
                request = struct.pack('256s', name[:15].encode())
                addresses.add(socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24]))
    with contextlib.suppress(OSError), open('/proc/net/if_inet6') as interfaces:
        for line in interfaces:
            digits, _, _, scope, _, name = line.split()
            if scope == '00':  # global
                address = str(ipaddress.IPv6Address(bytes.fromhex(digits)))
                found.setdefault(name, set()).add(address)
    return found
