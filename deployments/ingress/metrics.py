"""What the service counts beside Ray's own metrics; on Ray's Prometheus endpoint as `ray_...`."""

import math

from ray.util.metrics import Counter, Histogram

from deployments.common.errors import DeadlineExceeded, InternalError, Overloaded, Unavailable
from deployments.ingress.context import RequestContext

SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

_requests = Counter(
    "densenet_requests_total",
    description="Requests by client (empty without API keys) and by HTTP's status or gRPC's.",
    tag_keys=("application", "client", "status"),
)

_request_duration = Histogram(
    "densenet_request_duration_seconds",
    description="From the first byte that the ingress saw to the answer, by status.",
    boundaries=SECONDS,
    tag_keys=("application", "status"),
)

_stage_duration = Histogram(
    "densenet_stage_duration_seconds",
    description="Of requests that were classified: parse (receiving the body included), decode, "
    "queue (the longest wait of its images for the model) and infer (its slowest batch).",
    boundaries=SECONDS,
    tag_keys=("application", "stage"),
)

_images = Counter(
    "densenet_images_total",
    description="Images by outcome: `classified`, the code of an image's own error, `rejected` "
    "with its whole request, or `cancelled` because the client left.",
    tag_keys=("application", "outcome"),
)

_rejections = Counter(
    "densenet_rejections_total",
    description="Requests that ended in an error as a whole, by its code and by who said so: the "
    "`ingress`, or `ray` before it. `short_deadline`: its time was up within 0.1 s.",
    tag_keys=("application", "tier", "reason"),
)

_retries = Counter(
    "densenet_retries_total",
    description="Classifications whose replica was lost: `retried` on another one, or `rejected` "
    "because a retry would have been over the budget.",
    tag_keys=("application", "outcome"),
)

SHORT_DEADLINE_S = 0.1
"""A request that was given less time says nothing about the service's capacity."""
SHORT_DEADLINE = "short_deadline"

_ALL = (_requests, _request_duration, _stage_duration, _images, _rejections, _retries)
for _each in _ALL:
    _each.set_default_tags({"application": ""})  # in Ray's proxy, which serves all of them


def create_series(application: str) -> None:
    """Have what alerts watch there from the start: a counter's first value is no increase.

    application: the value of that tag in this process from now on.
    Ray refuses to count nothing, and the smallest number there is is lost in the first sum.
    """
    for each in _ALL:
        each.set_default_tags({"application": application})
    nothing = math.ulp(0.0)
    for outcome in ("retried", "rejected"):
        _retries.inc(nothing, tags={"outcome": outcome})
    for outcome in ("classified", InternalError.code):
        _images.inc(nothing, tags={"outcome": outcome})
    for reason in (Overloaded.code, Unavailable.code, DeadlineExceeded.code):
        _rejections.inc(nothing, tags={"tier": "ingress", "reason": reason})


def record_request(context: RequestContext) -> None:
    """Count a request that the ingress has answered."""
    _requests.inc(tags={"client": context.client, "status": context.status})
    _request_duration.observe(context.duration_s, tags={"status": context.status})
    for outcome, count in context.outcomes.items():
        _images.inc(count, tags={"outcome": outcome})
    if unfinished := context.images - context.outcomes.total():
        _images.inc(unfinished, tags={"outcome": "cancelled" if context.has_left else "rejected"})
    if context.error_code:
        count_rejection("ingress", reason_of(context))
    if context.timings.batch_size:
        for stage, ms in context.timings.stages().items():
            _stage_duration.observe(ms / 1000, tags={"stage": stage})


def count_retry(outcome: str) -> None:
    """`retried` or `rejected`."""
    _retries.inc(tags={"outcome": outcome})


def count_rejection(tier: str, reason: str) -> None:
    """`reason` is an error's code, or SHORT_DEADLINE."""
    _rejections.inc(tags={"tier": tier, "reason": reason})


def reason_of(context: RequestContext) -> str:
    """Why the request ended in an error as a whole: its error's code, or SHORT_DEADLINE."""
    is_late = context.error_code == DeadlineExceeded.code
    is_short = is_late and context.duration_s < SHORT_DEADLINE_S
    return SHORT_DEADLINE if is_short else context.error_code
