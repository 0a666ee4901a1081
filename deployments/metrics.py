"""What the service counts beside Ray's own metrics; on Ray's Prometheus endpoint as `ray_...`."""

from ray.util.metrics import Counter, Histogram

_requests = Counter(
    "densenet_requests_total",
    description="Requests by caller (empty without access keys) and by HTTP's status or gRPC's.",
    tag_keys=("caller", "status"),
)

batch_size = Histogram(
    "densenet_batch_size",
    description="Images in each batch put before the model.",
    boundaries=[1, 2, 4, 8, 16, 32, 64, 128],
)

retries = Counter(
    "densenet_retries_total",
    description="Classifications whose replica was lost: `retried` on another one, or `refused` "
    "because a retry would have been over the budget.",
    tag_keys=("outcome",),
)

refusals = Counter(
    "densenet_refusals_total",
    description="Requests refused because too many images were waiting, by the tier that did.",
    tag_keys=("tier",),
)


def count_request(caller: str, status: str) -> None:
    """`status` is that of HTTP, or gRPC's name for it."""
    _requests.inc(tags={"caller": caller, "status": status})
