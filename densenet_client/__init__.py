"""Classify photos with a densenet-serve service.

    from densenet_client import Client

    with Client("http://localhost:5000") as client:
        for result in client.stream(paths, top_k=5):
            print(result)

`Client` sends from threads and `AsyncClient` from an event loop. `Classification` and `Failure`
are what comes back for each image. `ClientError` and its kinds are raised when nothing can
come back.
"""

from typing import TYPE_CHECKING, Any

from densenet_client.client import Client
from densenet_client.errors import ClientError, InvalidResponse, ServerUnreachable, Unauthorized
from densenet_client.images import Image
from densenet_client.results import Classification, Failure, Prediction, Result, Status

if TYPE_CHECKING:
    from densenet_client.async_client import AsyncClient

UnexpectedAnswer = InvalidResponse
"""The name of version 1.0."""

__version__ = "1.0.0"
__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "ClientError",
    "Failure",
    "Image",
    "InvalidResponse",
    "Prediction",
    "Result",
    "ServerUnreachable",
    "Status",
    "Unauthorized",
    "UnexpectedAnswer",
]


def __getattr__(name: str) -> Any:
    """Import AsyncClient when it is first used: it alone needs aiohttp."""
    if name != "AsyncClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from densenet_client.async_client import AsyncClient
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}: pip install 'densenet-client[async]'") from error
    return AsyncClient
