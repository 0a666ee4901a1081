"""What the sender of a body without an image is told: what is wrong, and how to send one."""

from deployments.common.errors import NoImage, UnsupportedBody
from deployments.model.spec import SPEC

FORM_OF_TEXT = b"application/x-www-form-urlencoded"
"""What curl sends with -d, which changes a file, and with --data-binary, which does not."""
HOW_TO_SEND = "curl sends a file with -F file=@photo.jpg"
CHANGED_BY_CURL = (
    "; if it was sent with curl -d, which changes files, send it with -F file=@photo.jpg"
)
"""Added to the message of an image that cannot be decoded."""


def empty_body() -> NoImage:
    return NoImage(f"the request has no body, or the file sent as one is empty; {HOW_TO_SEND}")


def unsupported_body(media_type: bytes) -> UnsupportedBody:
    if media_type == b"application/json":
        return UnsupportedBody(
            f"JSON is for /v2/models/{SPEC.name}/infer; here, send an image: {HOW_TO_SEND}"
        )
    if media_type == FORM_OF_TEXT:
        return UnsupportedBody(
            f"the body is not a JPEG, PNG, WebP, GIF or BMP image; {HOW_TO_SEND}, "
            "or unchanged as the body with --data-binary, not -d"
        )
    return UnsupportedBody(
        f"send multipart/form-data, or one image with its Content-Type (image/...); {HOW_TO_SEND}"
    )
