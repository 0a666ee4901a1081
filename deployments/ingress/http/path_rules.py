"""Which paths need no key and which are probes: auth, access log and metrics read it here.

The routes themselves are in `routes`, `web_ui` and `v2.rest`.
"""

from dataclasses import dataclass

from starlette._utils import get_route_path
from starlette.types import Scope


@dataclass(frozen=True)
class PathRule:
    """public: needs no key. probe: asked again and again; neither logged nor counted."""

    public: bool = False
    probe: bool = False


PATHS = {
    "/": PathRule(public=True),
    "/healthz": PathRule(public=True, probe=True),
    "/readyz": PathRule(public=True, probe=True),
    "/v2/health/live": PathRule(public=True, probe=True),
    "/v2/health/ready": PathRule(public=True, probe=True),
    "/docs": PathRule(public=True),
    "/openapi.json": PathRule(public=True),
}
ASSET_FOLDERS = ("/static/", "/docs/assets/")
"""Files of the web page and of `/docs`: public, and no part of the latency that users see."""

_ASSET = PathRule(public=True, probe=True)
_PRIVATE = PathRule()


def rule_of(scope: Scope) -> PathRule:
    """The rule for the path that the router will see, character by character.

    Never `request.url`: a client's Host header is part of it. What is not listed is private.
    """
    path = get_route_path(scope)
    if path.startswith(ASSET_FOLDERS):
        return _ASSET
    return PATHS.get(path, _PRIVATE)
