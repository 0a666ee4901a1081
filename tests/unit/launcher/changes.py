"""Changes to the repository's configuration, by the level that they are made at."""

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Change = Callable[[Document], object]


def top(**keys: Any) -> Change:
    return lambda document: document.update(keys)


def http(**keys: Any) -> Change:
    return lambda document: document["http_options"].update(keys)


def grpc(**keys: Any) -> Change:
    return lambda document: document["grpc_options"].update(keys)


def application(**keys: Any) -> Change:
    return lambda document: document["applications"][0].update(keys)


def args(**keys: Any) -> Change:
    return lambda document: document["applications"][0]["args"].update(keys)


def ingress(**keys: Any) -> Change:
    return lambda document: document["applications"][0]["deployments"][0].update(keys)


def classifier(**keys: Any) -> Change:
    return lambda document: document["applications"][0]["deployments"][1].update(keys)


def autoscaling(**keys: Any) -> Change:
    return classifier(num_replicas=None, autoscaling_config=keys)


def both(*changes: Change) -> Change:
    return lambda document: [change(document) for change in changes]
