"""Which paths need no key and which are probes: auth, access log and metrics read it here.

The routes themselves are in `routes`, `web_ui` and `v2.rest`.
"""

from dataclasses import dataclass

from starlette._utils import get_route_path
from starlette.types import Scope


@dataclass(frozen=True)
class PathRule:
    """public: needs no key. probe: asked again and again; neither logged nor counted.
    page: for people to read; logged, but no part of the latency that users see."""

    public: bool = False
    probe: bool = False
    page: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether it is part of the metrics of requests."""
        return not (self.probe or self.page)


PATHS = {
    "/": PathRule(public=True, page=True),
    "/healthz": PathRule(public=True, probe=True),
    "/readyz": PathRule(public=True, probe=True),
    "/v2/health/live": PathRule(public=True, probe=True),
    "/v2/health/ready": PathRule(public=True, probe=True),
    "/docs": PathRule(public=True, page=True),
    "/openapi.json": PathRule(public=True, page=True),
}
ASSET_FOLDERS = ("/static/", "/docs/assets/")
"""Files of the web page and of `/docs`: many for one view, so not even logged."""

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
