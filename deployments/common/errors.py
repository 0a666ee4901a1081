"""What can go wrong, each with its HTTP status and its code.

Errors are raised where they are known and rendered in one place (`ingress.http.responses`).
Their message is written for the client: no traceback, no address, no path of the server. They
travel between replicas, so each is built from its message alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class ServiceError(Exception):
    """Anything the service answers with an error body."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What the HTTP response carries beside the body."""
    retry_after_s: int | None = None
    """When the same request may succeed, seconds; the HTTP response says so."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class MalformedRequest(ServiceError):
    status, code = 400, "malformed_request"


class NoImage(ServiceError):
    status, code = 400, "no_image"


class OneImageExpected(ServiceError):
    status, code = 400, "one_image_expected"


class Unauthorized(ServiceError):
    status, code = 401, "unauthorized"


class Forbidden(ServiceError):
    status, code = 403, "forbidden"


class NotFound(ServiceError):
    status, code = 404, "not_found"


class MethodNotAllowed(ServiceError):
    status, code = 405, "method_not_allowed"


class ClientClosedRequest(ServiceError):
    """The client left before its response; the status, nginx's, is for the log and metrics."""

    status, code = 499, "client_closed_request"


class RequestTooLarge(ServiceError):
    status, code = 413, "request_too_large"


class TooManyImages(ServiceError):
    status, code = 413, "too_many_images"


class UnsupportedBody(ServiceError):
    """The body is neither multipart nor an image; of a file, see `UnsupportedImage`."""

    status, code = 415, "unsupported_media_type"


class UnsupportedContentCoding(UnsupportedBody):
    """The response names the codings that are supported (RFC 9110, 15.5.16)."""

    headers = MappingProxyType({"Accept-Encoding": "gzip, deflate"})


class ImageError(ServiceError):
    """What is wrong with one image: it costs the other images of its request nothing."""


class ImageTooLarge(ImageError):
    status, code = 413, "image_too_large"


class UnsupportedImage(ImageError):
    status, code = 415, "unsupported_media_type"


class UndecodableImage(ImageError):
    status, code = 422, "undecodable_image"


class ServiceUnavailable(ServiceError):
    """A 503: the same request may succeed after `retry_after_s` seconds."""

    status = 503
    retry_after_s: int

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["ServiceUnavailable"], tuple[str, int]]:
        return type(self), (self.message, self.retry_after_s)


class Overloaded(ServiceUnavailable):
    code = "overloaded"


class QueueFull(Overloaded):
    """The queue is too long: requests are rejected, however much time they have.

    open_for_s: how long the Ingress rejects other requests by itself, before they cost anything:
        a fraction of what it takes to empty a queue.
    """

    open_for_s: ClassVar[float] = 0.1


class Unavailable(ServiceUnavailable):
    code = "unavailable"


class DeadlineExceeded(ServiceError):
    status, code = 504, "deadline_exceeded"


class InternalError(ServiceError):
    status, code = 500, "internal"


class ReplicaLost(Exception):
    """The Classifier replica that had a call died: another one may do it."""


class DeviceLost(Exception):
    """The model's device can compute nothing more in this process."""


class StartupError(Exception):
    """The service cannot start as configured; the message names the ways out."""


class RayDied(Exception):
    """Ray ended while the service ran on it."""
