"""Which replica this process is."""

from ray import serve
from ray.serve.exceptions import RayServeException


def application_name() -> str:
    """The name of the replica's application in the YAML; empty outside of a replica."""
    try:
        return serve.get_replica_context().app_name
    except RayServeException:
        return ""
