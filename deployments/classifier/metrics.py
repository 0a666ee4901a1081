"""What a Classifier counts beside Ray's own metrics; on Ray's Prometheus endpoint as `ray_...`."""

from dataclasses import asdict

from ray.util.metrics import Gauge, Histogram

from deployments.common.rpc_types import ModelInfo

# By its buckets and its count: of a histogram's sum Ray makes an estimate.
_batch_size = Histogram(
    "densenet_batch_size",
    description="Images in each batch put before the model.",
    boundaries=[1, 2, 4, 8, 16, 32, 64, 128],
    tag_keys=("application",),
)

_queue_depth = Gauge(
    "densenet_queue_depth_images",
    description="Images before the model of a Classifier, those of the running batch included.",
    tag_keys=("application",),
)

_model_info = Gauge(
    "densenet_model_info",
    description="1 for each Classifier, by what it serves.",
    tag_keys=("application", "weights", "engine", "device", "precision"),
)


def set_application(name: str) -> None:
    """Tag what this process counts with its application; before anything is counted."""
    for each in (_batch_size, _queue_depth, _model_info):
        each.set_default_tags({"application": name})


set_application("")


def set_model_info(model: ModelInfo) -> None:
    """Say what this Classifier serves."""
    _model_info.set(1, tags=asdict(model))


def set_queue_depth(images: int) -> None:
    """Those before the model included."""
    _queue_depth.set(images)


def record_batch(images: int) -> None:
    _batch_size.observe(images)
