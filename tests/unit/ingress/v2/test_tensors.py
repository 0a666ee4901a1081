"""Tensors as they are written: what goes in comes out, and what does not fit is refused."""

import base64
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.common.errors import MalformedRequest
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.tensors import ANY, Tensor, TensorSpec

IMAGE = TensorSpec("image", "BYTES", (ANY,))
PIXELS = TensorSpec("pixels", "UINT8", (ANY, 2, 3))
INPUT = TensorSpec("input", "FP32", (ANY, 2))


@pytest.mark.parametrize(
    ("spec", "shape", "values"),
    [
        (IMAGE, (3,), [b"one", b"", b"\x00\xff"]),
        (PIXELS, (2, 2, 3), np.arange(12, dtype=np.uint8).reshape(2, 2, 3)),
        (INPUT, (1, 2), np.array([[0.1, -3e38]], np.float32)),
    ],
)
def test_the_binary_form_is_read_as_it_was_written(
    spec: TensorSpec, shape: tuple[int, ...], values: Any
) -> None:
    written = tensors.to_raw(Tensor(spec, shape, values))
    read = tensors.from_raw(spec, shape, written).values
    assert read == values if isinstance(values, list) else np.array_equal(read, values)


@pytest.mark.parametrize("data", [list(range(6)), [[[0, 1, 2], [3, 4, 5]]]], ids=["flat", "nested"])
def test_a_list_may_be_flat_or_nested(data: list[Any]) -> None:
    values = tensors.from_list(PIXELS, (1, 2, 3), data).values
    assert np.array_equal(values, np.arange(6, dtype=np.uint8).reshape(1, 2, 3))


@pytest.mark.parametrize(
    ("spec", "shape", "data"),
    [
        (PIXELS, (1, 2, 3), [0, 1, 2, 3, 4]),
        (PIXELS, (1, 2, 3), [0, 1, 2, 3, 4, 256]),
        (PIXELS, (1, 2, 3), [0, 1, 2, 3, 4, -1]),
        (PIXELS, (1, 2, 3), [0, 1, 2, 3, 4, 10**30]),
        (PIXELS, (1, 2, 3), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (PIXELS, (1, 2, 3), [True] * 6),
        (PIXELS, (1, 2, 3), ["0"] * 6),
        (PIXELS, (1, 2, 3), [None] * 6),
        (PIXELS, (1, 2, 3), [[0, 1, 2], [3, 4]]),
        (PIXELS, (1, 2, 3), [[0, 1], [2, 3], [4, 5]]),
        (PIXELS, (1, 2, 3), []),
        (INPUT, (1, 2), [1, {}]),
        (INPUT, (1, 2), ["nan", 1]),
        (IMAGE, (1,), [b"one", b"two"]),
    ],
)
def test_a_list_that_is_not_of_the_type_and_shape_is_refused(
    spec: TensorSpec, shape: tuple[int, ...], data: list[Any]
) -> None:
    with pytest.raises(MalformedRequest):
        tensors.from_list(spec, shape, data)


def test_whole_numbers_are_read_as_fp32() -> None:
    values = tensors.from_list(INPUT, (1, 2), [1, -2]).values
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    assert values.tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01\x00\x00",
        b"\x02\x00\x00\x00a",
        b"\xff\xff\xff\xffa",
        b"\x01\x00\x00\x00a\x00",
        b"\x01\x00\x00\x00a\x01\x00\x00\x00b",
    ],
)
def test_elements_that_do_not_fill_their_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest, match="do not fill"):
        tensors.from_raw(IMAGE, (1,), raw)


@pytest.mark.parametrize("size_bytes", [0, 5, 7])
def test_a_binary_tensor_of_another_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(MalformedRequest, match="takes 6 bytes"):
        tensors.from_raw(PIXELS, (1, 2, 3), bytes(size_bytes))


@pytest.mark.parametrize("shape", [[], [1], [1, 2, 4], [1, 2, 3, 1], [-1, 2, 3]])
def test_a_shape_that_is_not_the_specified_one_is_refused(shape: list[int]) -> None:
    with pytest.raises(MalformedRequest, match="shape"):
        PIXELS.check("UINT8", shape)


def test_a_type_that_is_not_the_specified_one_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="'pixels' is UINT8, not 'FP32'"):
        PIXELS.check("FP32", [1, 2, 3])


def test_bytes_are_base64_in_json() -> None:
    assert tensors.decode_base64(IMAGE, [base64.b64encode(b"\xff\xd8").decode()]) == [b"\xff\xd8"]


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_line_breaks_in_base64_are_skipped(line_break: str) -> None:
    text = base64.encodebytes(bytes(200)).decode().replace("\n", line_break)
    assert tensors.decode_base64(IMAGE, [text]) == [bytes(200)]


@pytest.mark.parametrize("data", [["not base64!"], ["AA AA"], [7], [None], ["ä"]])
def test_what_is_no_base64_is_refused(data: list[Any]) -> None:
    with pytest.raises(MalformedRequest, match="base64"):
        tensors.decode_base64(IMAGE, data)


def test_a_timeout_is_in_microseconds_and_none_is_for_ever() -> None:
    assert tensors.read_timeout_s({"timeout": 1500}) == 0.0015
    assert tensors.read_timeout_s({}) == math.inf


@pytest.mark.parametrize("value", ["1", 1.5, -1, True, None])
def test_a_parameter_that_is_no_number_of_its_unit_is_refused(value: object) -> None:
    with pytest.raises(MalformedRequest, match="microseconds"):
        tensors.read_timeout_s({"timeout": value})
    with pytest.raises(MalformedRequest, match="classes"):
        tensors.read_output("probabilities", {"classification": value})


def test_tensors_in_shared_memory_are_refused() -> None:
    with pytest.raises(MalformedRequest, match="shared memory"):
        tensors.read_output("probabilities", {"shared_memory_region": "r"})


def test_an_array_is_written_as_a_flat_list_and_bytes_as_text() -> None:
    values: NDArray[np.float32] = np.array([[0.5, 0.25]], np.float32)
    assert tensors.to_list(Tensor(INPUT, (1, 2), values)) == [0.5, 0.25]
    assert tensors.to_list(Tensor(IMAGE, (1,), [b"tench"])) == ["tench"]
