"""Ray's errors, translated into ours."""

from typing import Any

from grpc.aio import AioRpcError
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentResponse, DeploymentResponseGenerator

from deployments.common.errors import Overloaded, ReplicaLost, ServiceError, Unavailable

REPLICA_LOST_ERRORS = (RayActorError, ObjectLostError, AioRpcError)
"""What says that a replica died, with the request or with the response in its hands, or that the
connection to it broke."""

Response = DeploymentResponse[Any] | DeploymentResponseGenerator[Any]


async def translate_ray_errors(response: Response) -> Any:
    """Await a response. Raises ServiceError, ReplicaLost, RayError."""
    try:
        return await response
    except REPLICA_LOST_ERRORS as error:
        raise ReplicaLost(type(error).__name__) from error
    except RayTaskError as error:
        # The text of a remote error is its traceback: only the error itself goes on.
        if isinstance(error.cause, ServiceError):
            raise error.cause from None
        raise
    except BackPressureError as error:
        raise Overloaded("too many requests are waiting") from error
    except DeploymentUnavailableError as error:
        raise Unavailable("the classifier is not available") from error
