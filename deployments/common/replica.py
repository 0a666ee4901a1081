"""What every replica asks of its process."""

import logging

from ray import serve
from ray.serve.exceptions import RayServeException


def survive_a_full_disk() -> None:
    """Have `logging` drop a record that it cannot write.

    Its report goes to standard error, which Ray logs in a replica: to the same full disk, for ever.
    """
    logging.raiseExceptions = False


def application_name() -> str:
    """The name of the replica's application in the YAML; empty outside of a replica."""
    try:
        return serve.get_replica_context().app_name
    except RayServeException:
        return ""
