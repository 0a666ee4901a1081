"""How photos are put into a request, and class ids read from its answer."""

import json
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgpack

Numbered = Sequence[tuple[int, bytes]]
"""Photos with their indexes."""


@dataclass(frozen=True)
class Payload:
    """One request, ready to be sent: the indexes are those of the photos in it."""

    body: bytes
    headers: dict[str, str]
    photos: tuple[int, ...]


@dataclass(frozen=True)
class Encoding:
    """One way to ask. `read` gives the class ids in the order the photos were sent."""

    path: str
    encode: Callable[[Numbered], Payload]
    read: Callable[[bytes], list[str]]


def _multipart(photos: Numbered) -> Payload:
    boundary = uuid.uuid4().hex
    parts = [
        b'--%(boundary)s\r\nContent-Disposition: form-data; name="file"; '
        b'filename="%(number)05d.jpg"\r\nContent-Type: image/jpeg\r\n\r\n%(data)s\r\n'
        % {b"boundary": boundary.encode(), b"number": number, b"data": data}
        for number, data in photos
    ]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return Payload(body, headers, tuple(number for number, _ in photos))


def _open_inference(photos: Numbered) -> Payload:
    """A BYTES tensor of the Open Inference Protocol, with its binary data extension."""
    tensor = b"".join(struct.pack("<I", len(data)) + data for _, data in photos)
    image = {
        "name": "image",
        "shape": [len(photos), 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps({"inputs": [image]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Payload(head + tensor, headers, tuple(number for number, _ in photos))


def _msgpack(photos: Numbered) -> Payload:
    body: bytes = msgpack.packb({"images": [data for _, data in photos]})
    headers = {"Content-Type": "application/msgpack"}
    return Payload(body, headers, tuple(number for number, _ in photos))


def _ids(predictions: Sequence[Mapping[str, str]]) -> list[str]:
    """Empty for an image that got an error instead."""
    return [prediction.get("class_id", "") for prediction in predictions]


KEYED = Encoding("/predict", _multipart, lambda body: _ids(list(json.loads(body).values())))
LISTED = Encoding("/predict", _multipart, lambda body: _ids(json.loads(body)))
OPEN_INFERENCE = Encoding(
    "/v2/models/densenet/infer",
    _open_inference,
    lambda body: list(json.loads(body)["outputs"][0]["data"]),
)
MSGPACK = Encoding("/inference", _msgpack, lambda body: _ids(msgpack.unpackb(body)))
