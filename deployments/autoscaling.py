"""Scale Classifiers by images in progress, because a request may hold one image or many.

Ray's own policy counts requests. Ray pickles this module by value into its controller, so it
imports nothing of ours.
"""

from typing import Any

from ray.serve.config import AutoscalingContext

IMAGES = "images"
"""The key of that figure in `Classifier.record_autoscaling_stats`."""


class ImagesInProgress:
    """An autoscaling policy: `images_per_replica` waiting for the model or before it.

    Bounds, delays and factors of the `autoscaling_config` hold as for Ray's own.
    """

    def __init__(self, images_per_replica: float) -> None:
        self._images_per_replica = images_per_replica

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Returns how many replicas are wanted, and a state of which it keeps none."""
        by_replica = (context.aggregated_metrics or {}).get(IMAGES)
        if not by_replica:
            return context.target_num_replicas, {}
        return sum(by_replica.values()) / self._images_per_replica, {}
