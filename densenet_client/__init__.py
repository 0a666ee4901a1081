"""Classify photos with a densenet-serve service.

    from densenet_client import Client

    with Client("http://localhost:5000") as client:
        for result in client.stream(paths, top_k=5):
            print(result)

`Client` sends, `Classification` and `Failure` are what comes back for each image, and
`ClientError` with its kinds is what is raised when nothing can come back.
"""

from densenet_client.client import Client
from densenet_client.errors import ClientError, InvalidResponse, ServerUnreachable, Unauthorized
from densenet_client.images import Image
from densenet_client.results import Classification, Failure, Prediction, Result, Status

__all__ = [
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
]
