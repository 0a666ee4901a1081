"""What is done to the service while it serves. Each returns when the service is healthy again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from deployments.common.settings import Limits
from testing.cluster import Service, kill


@dataclass(frozen=True)
class Fault:
    """`inject` is None where the fault is in what is asked: every hundredth image."""

    name: str
    what: str
    inject: Callable[[Service], None] | None


def _kill_one(part: str) -> Callable[[Service], None]:
    def inject(service: Service) -> None:
        doomed = random.choice(service.find(part))
        kill(doomed)
        service.wait_until_healthy(gone=[doomed])

    return inject


def _kill_all(part: str) -> Callable[[Service], None]:
    def inject(service: Service) -> None:
        doomed = service.find(part)
        for process in doomed:
            kill(process)
        service.wait_until_healthy(gone=doomed)

    return inject


def _lose_node(service: Service) -> None:
    gone = service.kill_node()
    service.add_node()
    service.wait_until_healthy(gone)


def _roll(service: Service) -> None:
    """Redeploy everything: another limit makes another application."""
    old = service.find("ingress") + service.find("classifier")
    limits = service.document["applications"][0]["args"].setdefault("limits", {})
    limits["max_image_pixels"] = limits.get("max_image_pixels", Limits().max_image_pixels) - 1
    service.deploy()
    service.wait_until_healthy(gone=old)


def _tune(service: Service) -> None:
    (classifier,) = (
        each
        for each in service.document["applications"][0]["deployments"]
        if each["name"] == "Classifier"
    )
    tuning = classifier["user_config"]
    tuning["max_batch_size"] = 8 if tuning.get("max_batch_size") == 4 else 4
    service.deploy()
    service.wait_until_healthy()


FAULTS = (
    Fault("classifier", "`kill -9` of a Classifier replica", _kill_one("classifier")),
    Fault("ingress", "`kill -9` of an Ingress replica", _kill_one("ingress")),
    Fault("haproxy", "`kill -9` of HAProxy", _kill_all("haproxy")),
    Fault("haproxy_manager", "`kill -9` of HAProxy's manager", _kill_all("haproxy_manager")),
    Fault("fallback_proxy", "`kill -9` of Ray's own proxy", _kill_all("fallback_proxy")),
    Fault("controller", "`kill -9` of Serve's controller", _kill_one("controller")),
    Fault("node", "a node of three lost with all on it", _lose_node),
    Fault("update", "rolling redeploy of both tiers", _roll),
    Fault("tuning", "live change of `max_batch_size`", _tune),
    Fault("poison", "every hundredth image is poisoned", None),
)
