"""Whether a gRPC peer is on this machine."""

import ipaddress
from urllib.parse import unquote


def is_local(peer: str) -> bool:
    """Whether a peer as gRPC names it (`ipv4:127.0.0.1:80`, `ipv6:[::1]:80`) is this machine."""
    family, _, address = unquote(peer).partition(":")
    if family == "unix":
        return True
    try:
        host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback
