"""HTTP by asyncio, with aiohttp."""

import io

import aiohttp
from requests.utils import get_environ_proxies, select_proxy

from densenet_client import messages
from densenet_client.messages import CONNECT_TIMEOUT_S, HttpRequest, HttpResponse, NoResponse, Reply
from densenet_client.tls import Verify, make_context


class AsyncHttpTransport:
    """Sends requests to one service, within one event loop."""

    def __init__(self, url: str, max_connections: int, verify: Verify) -> None:
        """Raises ClientError if `verify` is a file without certificates."""
        self._url = url
        self._max_connections = max_connections
        self._tls = make_context(verify)
        # As requests does it. aiohttp's `trust_env` would also send what ~/.netrc holds.
        self._proxy = select_proxy(url, get_environ_proxies(url))
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest) -> Reply:
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=request.timeout_s)
        try:
            async with self._open_session().request(
                request.method,
                self._url + request.path,
                headers=request.headers,
                # A BytesIO is sent piece by piece: the event loop does other work in between.
                data=None if request.body is None else io.BytesIO(request.body),
                timeout=timeout,
                allow_redirects=False,  # a redirect would turn POST into GET and lose the images
                proxy=self._proxy,
            ) as response:
                return HttpResponse(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            return NoResponse(_describe(error))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        """A session belongs to the event loop, so the first request opens it."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._max_connections, ssl=self._tls)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _describe(error: Exception) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return messages.NOT_CONNECTED
        case TimeoutError():
            return messages.TIMED_OUT
        case aiohttp.ClientSSLError():
            return messages.BAD_TLS
        case aiohttp.ClientConnectorDNSError():
            return messages.UNKNOWN_HOST
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return messages.REFUSED
        case aiohttp.ClientPayloadError():
            return messages.CUT_SHORT
        case aiohttp.ClientConnectionError():
            return messages.LOST
    return str(error)
