"""Uvicorn in a thread with the HTTP parser of the Ingress replicas, and nothing of Ray."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from deployments.ingress.http.http_protocol import HttpProtocol


@contextmanager
def serving(application: ASGIApp) -> Iterator[int]:
    """Gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application, http=HttpProtocol, lifespan="off", log_config=None, log_level="error"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
