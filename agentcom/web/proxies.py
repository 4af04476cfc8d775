"""Who is behind a connection: the peer itself, or whom a proxy that we trust says it speaks for.

May import: the standard library.
"""

import ipaddress
from typing import NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Via(NamedTuple):
    """Where a request comes from, and how its sender reached us."""

    peer: str
    scheme: str


class Proxies:
    """`trusted` is the setting: addresses or networks, comma-separated. Raises ValueError for anything else."""

    def __init__(self, trusted: str) -> None:
        parts = filter(None, map(str.strip, trusted.split(",")))
        self._networks = [ipaddress.ip_network(part, strict=False) for part in parts]

    def via(self, peer: str, scheme: str, forwarded_for: str, forwarded_proto: str) -> Via:
        """The nearest address that is not one of our proxies. What anyone else says of itself is not believed."""
        if not self._networks or not self._is_ours(peer):
            return Via(peer, scheme)
        for hop in reversed([hop.strip() for hop in forwarded_for.split(",") if hop.strip()]):
            peer = hop
            if not self._is_ours(hop):
                break
        told = forwarded_proto.rpartition(",")[2].strip().lower()
        return Via(peer, told if told in ("http", "https") else scheme)

    def _is_ours(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
