"""Tensors of the Open Inference Protocol: their types, shapes and ways of being written.

Knows nothing of HTTP, of gRPC or of images.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import MalformedRequest

Datatype = Literal["BYTES", "UINT8", "FP32"]
Values = NDArray[np.uint8 | np.float32] | list[bytes]
"""An array of the tensor's shape; of BYTES, which here have one dimension, a list."""

ANY = -1
"""A dimension of any length."""

_DTYPES: dict[str, np.dtype[np.uint8 | np.float32]] = {
    "UINT8": np.dtype(np.uint8),
    "FP32": np.dtype("<f4"),
}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor of the model is like; `ANY` stands for the number of images."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Refuse what a request says of this tensor, before its data is looked at.

        Raises MalformedRequest.
        """
        if datatype != self.datatype:
            raise MalformedRequest(f"{self.name!r} is {self.datatype}, not {datatype!r:.20}")
        fits = len(shape) == len(self.shape) and all(
            expected in (ANY, length) and length >= 0
            for expected, length in zip(self.shape, shape, strict=True)
        )
        if not fits:
            raise MalformedRequest(
                f"{self.name!r} has the shape {list(self.shape)}, not {list(shape)[:8]}"
            )


def list_names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(repr(name) for name in specs)


@dataclass(frozen=True)
class Tensor:
    """A tensor with its values; its specification has been checked."""

    spec: TensorSpec
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True)
class RequestedOutput:
    """One output a client asks for; `classification` is the number of best classes, or 0."""

    name: str
    classification: int = 0


def from_raw(spec: TensorSpec, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """Read a tensor from its binary form: little-endian, row by row; BYTES with lengths.

    Raises MalformedRequest when the bytes are too few or too many.
    """
    if spec.datatype == "BYTES":
        return Tensor(spec, tuple(shape), _split(spec, math.prod(shape), memoryview(raw)))
    dtype = _DTYPES[spec.datatype]
    expected_bytes = math.prod(shape) * dtype.itemsize
    if len(raw) != expected_bytes:
        raise MalformedRequest(
            f"{spec.name!r} of shape {list(shape)} takes {expected_bytes} bytes, not {len(raw)}"
        )
    return Tensor(spec, tuple(shape), np.frombuffer(raw, dtype).reshape(shape))


def _split(spec: TensorSpec, count: int, raw: memoryview) -> list[bytes]:
    """Each element stands behind its length, four bytes, little-endian."""
    elements: list[bytes] = []
    position = 0
    for _ in range(count):
        start = position + _LENGTH.size
        if start > len(raw):
            break
        position = start + _LENGTH.unpack_from(raw, position)[0]
        elements.append(bytes(raw[start:position]))
    if position != len(raw) or len(elements) != count:
        raise MalformedRequest(f"the elements of {spec.name!r} do not fill its bytes")
    return elements


def from_list(spec: TensorSpec, shape: Sequence[int], data: Sequence[Any]) -> Tensor:
    """Read a tensor from a list, flat or nested as its shape; numbers, or `bytes` of BYTES.

    Raises MalformedRequest when they are not such numbers, or too few or too many.
    """
    if spec.datatype == "BYTES":
        if len(data) != math.prod(shape):
            raise MalformedRequest(f"{spec.name!r} of shape {list(shape)} has {len(data)} elements")
        return Tensor(spec, tuple(shape), list(data))
    values = _numbers(spec, data)
    if values.shape not in (tuple(shape), (math.prod(shape),)):
        raise MalformedRequest(f"the data of {spec.name!r} does not have the shape {list(shape)}")
    return Tensor(spec, tuple(shape), values.reshape(shape))


def _numbers(spec: TensorSpec, data: Sequence[Any]) -> NDArray[Any]:
    try:
        found = np.asarray(data)
    except ValueError as error:
        raise MalformedRequest(f"the data of {spec.name!r} is no regular array") from error
    dtype = _DTYPES[spec.datatype]
    if found.size and found.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        raise MalformedRequest(f"the data of {spec.name!r} is not {spec.datatype}")
    if dtype.kind == "u" and found.size and not 0 <= found.min() <= found.max() <= 255:
        raise MalformedRequest(f"the data of {spec.name!r} is not within 0 and 255")
    with np.errstate(over="ignore"):  # too large for FP32 is infinite, as in any client
        return found.astype(dtype)


def decode_base64(spec: TensorSpec, data: Sequence[Any]) -> list[bytes]:
    """Decode the elements of BYTES in JSON, which cannot hold bytes: base64.

    Line breaks are skipped: many encoders write lines of 64 or 76 characters (RFC 2045, 6.8).
    Raises MalformedRequest.
    """
    try:
        lines = (text.replace("\n", "").replace("\r", "") for text in data)
        return [base64.b64decode(text, validate=True) for text in lines]
    except (AttributeError, binascii.Error, TypeError, ValueError) as error:
        raise MalformedRequest(f"the data of {spec.name!r} is not base64 in strings") from error


def to_raw(tensor: Tensor) -> bytes:
    """The binary form of a tensor, as `from_raw` reads it."""
    if isinstance(tensor.values, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.values)
    return tensor.values.astype(_DTYPES[tensor.spec.datatype], copy=False).tobytes()


def to_list(tensor: Tensor) -> list[Any]:
    """The flat list of a tensor's values; BYTES as text."""
    if isinstance(tensor.values, list):
        return [element.decode() for element in tensor.values]
    flat: list[Any] = tensor.values.ravel().tolist()
    return flat


def read_timeout_s(parameters: Mapping[str, Any]) -> float:
    """The parameter `timeout` (microseconds), in seconds; infinite where there is none."""
    timeout_us = parameters.get("timeout", 0)
    if not _is_count(timeout_us):
        raise MalformedRequest("the parameter 'timeout' is a number of microseconds")
    return timeout_us / 1e6 or math.inf


def read_output(name: str, parameters: Mapping[str, Any]) -> RequestedOutput:
    """A requested output. Raises MalformedRequest for parameters it cannot have."""
    reject_shared_memory(parameters)
    classification = parameters.get("classification", 0)
    if not _is_count(classification):
        raise MalformedRequest(f"'classification' of {name!r:.80} is a number of classes")
    return RequestedOutput(name, classification)


def reject_shared_memory(parameters: Mapping[str, Any]) -> None:
    """Raises MalformedRequest where a tensor is said to lie in shared memory."""
    if "shared_memory_region" in parameters:
        raise MalformedRequest("tensors in shared memory are not supported")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
