"""HTTP by threads, with requests."""

import requests
from requests.adapters import HTTPAdapter

from densenet_client import messages
from densenet_client.messages import CONNECT_TIMEOUT_S, HttpRequest, HttpResponse, NoResponse, Reply
from densenet_client.tls import Verify, make_context


class HttpTransport:
    """Sends requests to one service; threads may share it."""

    def __init__(self, url: str, max_connections: int, verify: Verify) -> None:
        """Raises ClientError if `verify` is a file without certificates."""
        make_context(verify)
        self._url = url
        self._verify = verify if isinstance(verify, bool) else str(verify)
        self._session = requests.Session()
        # requests would else send what it finds for the host in ~/.netrc.
        self._session.auth = lambda request: request
        # Threads that share a client wait for a connection, and none is opened in vain.
        adapter = HTTPAdapter(pool_maxsize=max_connections, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(self, request: HttpRequest) -> Reply:
        try:
            response = self._session.request(
                request.method,
                self._url + request.path,
                headers=dict(request.headers),
                data=request.body,
                timeout=(CONNECT_TIMEOUT_S, request.timeout_s),
                allow_redirects=False,  # a redirect would turn POST into GET and lose the images
                # None, and not True, so that REQUESTS_CA_BUNDLE counts.
                verify=None if self._verify is True else self._verify,
            )
        except requests.RequestException as error:
            return NoResponse(_describe(error))
        return HttpResponse(response.status_code, response.headers, response.content)

    def close(self) -> None:
        self._session.close()


def _describe(error: requests.RequestException) -> str:
    match error:
        case requests.ConnectTimeout():
            return messages.NOT_CONNECTED
        case requests.Timeout():
            return messages.TIMED_OUT
        case requests.exceptions.SSLError():
            return messages.BAD_TLS
        case requests.exceptions.ChunkedEncodingError():
            return messages.CUT_SHORT
        case requests.ConnectionError():
            return _describe_lost(str(error))
    return str(error)


def _describe_lost(text: str) -> str:
    # urllib3's own exceptions are wrapped so deeply that only their text is at hand.
    if "Failed to resolve" in text:
        return messages.UNKNOWN_HOST
    return messages.REFUSED if "Connection refused" in text else messages.LOST
