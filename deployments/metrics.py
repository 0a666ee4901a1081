"""What the service counts of itself, as Ray exports it for Prometheus."""

from ray.util.metrics import Counter


class RequestCounter:
    """`densenet_requests`: requests by who asked and how it ended."""

    def __init__(self) -> None:
        self._requests = Counter(
            "densenet_requests",
            description="Requests by caller (empty without access keys) and status.",
            tag_keys=("caller", "status"),
        )

    def count(self, caller: str, status: str) -> None:
        """`status` is that of HTTP, or gRPC's name for it."""
        self._requests.inc(tags={"caller": caller, "status": status})
