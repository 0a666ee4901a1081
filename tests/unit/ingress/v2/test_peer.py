"""Which gRPC peers are on this machine."""

import pytest

from deployments.ingress.v2.peer import is_local


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:4000", True),
        ("ipv4:127.8.8.8:4000", True),
        ("ipv6:[::1]:4000", True),
        ("ipv6:%5B::1%5D:4000", True),
        ("ipv6:[::ffff:127.0.0.1]:4000", True),
        ("unix:/run/socket", True),
        ("ipv4:10.0.0.7:4000", False),
        ("ipv6:[2001:db8::1]:4000", False),
        ("ipv6:[::ffff:10.0.0.7]:4000", False),
        ("", False),
        ("vsock:3:5", False),
    ],
)
def test_a_peer_is_local_or_not_by_its_address(peer: str, local: bool) -> None:
    assert is_local(peer) is local
