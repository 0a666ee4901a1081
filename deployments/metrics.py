"""What the service counts beside Ray's own metrics; on Ray's Prometheus endpoint as `ray_...`."""

from ray.util.metrics import Counter, Histogram

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
