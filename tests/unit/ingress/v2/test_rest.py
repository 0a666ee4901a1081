"""The routes under /v2 with a classifier that does as told."""

import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from deployments.common.errors import Overloaded
from deployments.common.settings import Limits
from deployments.ingress.application import create_application
from deployments.ingress.images.pipeline import Pipeline
from testing.fake_classifier import FakeClassifier
from testing.pictures import encode, make_picture

pytestmark = pytest.mark.anyio

INFER = "/v2/models/densenet121/infer"
JPEG = encode(make_picture(1), "JPEG")
PIXEL_BYTES = 224 * 224 * 3


async def send(
    classifier: FakeClassifier,
    method: str,
    path: str,
    limits: Limits | None = None,
    **options: Any,
) -> httpx.Response:
    transport = httpx.ASGITransport(create_application(Pipeline(classifier, limits or Limits())))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, **options)


async def infer(
    content: dict[str, Any] | bytes, classifier: FakeClassifier | None = None, **options: Any
) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await send(classifier or FakeClassifier(), "POST", INFER, content=body, **options)


def pixels_input(num_images: int = 1, **parameters: Any) -> dict[str, Any]:
    shape = [num_images, 224, 224, 3]
    return {"name": "pixels", "datatype": "UINT8", "shape": shape, "parameters": parameters}


def pixels_body(num_images: int = 1, **request: Any) -> tuple[bytes, dict[str, str]]:
    """A request with its pixels in binary, and the headers that it needs."""
    size_bytes = num_images * PIXEL_BYTES
    inputs = [pixels_input(num_images, binary_data_size=size_bytes)]
    header = json.dumps({"inputs": inputs} | request).encode()
    return header + bytes(size_bytes), {"Inference-Header-Content-Length": str(len(header))}


async def infer_pixels(
    classifier: FakeClassifier, num_images: int = 1, **request: Any
) -> httpx.Response:
    body, headers = pixels_body(num_images, **request)
    return await infer(body, classifier, headers=headers)


def message_of(response: httpx.Response) -> str:
    body = response.json()
    assert body.keys() == {"error"}
    message: str = body["error"]
    return message


async def test_overload_is_told_with_the_time_to_wait() -> None:
    response = await infer_pixels(FakeClassifier(Overloaded("too many", retry_after_s=3)))
    assert (response.status_code, message_of(response)) == (503, "too many")
    assert response.headers["Retry-After"] == "3"


async def test_a_failure_is_told_without_its_trace() -> None:
    response = await infer_pixels(FakeClassifier(RuntimeError("secret at 10.0.0.1")))
    assert response.status_code == 500
    assert message_of(response) == "something went wrong on our side"


async def test_an_image_the_model_fails_on_refuses_the_request_with_its_place() -> None:
    response = await infer_pixels(FakeClassifier(failed=frozenset({1})), num_images=2)
    assert response.status_code == 500
    assert message_of(response).startswith("image 1: ")


async def test_probabilities_that_are_not_finite_are_not_answered() -> None:
    response = await infer_pixels(FakeClassifier(probability=float("nan")))
    assert response.status_code == 422
    assert "no finite probabilities" in message_of(response)


@pytest.mark.parametrize(
    ("request_", "headers"), [({"parameters": {"timeout": 1000}}, {}), ({}, {"X-Deadline-Ms": "1"})]
)
async def test_a_client_may_set_its_deadline_in_the_request_or_its_header(
    request_: dict[str, Any], headers: dict[str, str]
) -> None:
    body, own_headers = pixels_body(**request_)
    response = await infer(body, FakeClassifier(delay_s=5), headers=own_headers | headers)
    assert (response.status_code, message_of(response)) == (504, "the request's time is up")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/densenet121/ready"),
        ("POST", INFER),
    ],
)
async def test_nothing_is_ready_before_a_classifier_is(method: str, path: str) -> None:
    response = await send(FakeClassifier(is_ready=False), method, path)
    assert response.status_code == 503
    assert message_of(response) == "no classifier is ready"


async def test_the_index_tells_a_model_that_is_not_ready_or_leaves_it_out() -> None:
    path = "/v2/repository/index"
    classifier = FakeClassifier(is_ready=False)
    models = (await send(classifier, "POST", path)).json()
    assert [model["state"] for model in models] == ["UNAVAILABLE"]
    assert (await send(classifier, "POST", path, json={"ready": True})).json() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("GET", "/v2/models/resnet50", 404),
        ("GET", "/v2/models/densenet121/versions/2/ready", 404),
    ],
)
async def test_every_error_under_v2_has_the_protocols_form(
    method: str, path: str, status: int
) -> None:
    response = await send(FakeClassifier(), method, path)
    assert response.status_code == status
    assert isinstance(message_of(response), str)


async def test_errors_elsewhere_keep_their_form() -> None:
    response = await send(FakeClassifier(), "GET", "/v2x")
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"inputs": 3}',
        b'{"inputs": [{"name": "pixels"}]}',
        b'{"inputs": [], "id": 7}',
        b'{"inputs": []}',
        b'{"inputs": [{"name":"input","datatype":"FP32","shape":[1,3,224,224],"data":[NaN]}]}',
    ],
)
async def test_a_request_whose_json_is_wrong_is_refused(body: bytes) -> None:
    response = await infer(body)
    assert response.status_code == 400
    assert message_of(response)


@pytest.mark.parametrize("length", ["-1", "1e3", "", " ", "²", "99999999999999999999", "1000000"])
async def test_a_header_length_that_lies_is_refused(length: str) -> None:
    body, _ = pixels_body()
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    response = await infer(body, headers=headers)
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in message_of(response)


@pytest.mark.parametrize("shift", [-1, 1])
async def test_a_header_length_that_is_one_off_is_refused(shift: int) -> None:
    body, headers = pixels_body()
    length = int(headers["Inference-Header-Content-Length"]) + shift
    response = await infer(body, headers={"Inference-Header-Content-Length": str(length)})
    assert response.status_code == 400


@pytest.mark.parametrize("size_bytes", [-1, 0, PIXEL_BYTES + 1, "150528", True, 10**30])
async def test_a_binary_size_that_lies_is_refused(size_bytes: object) -> None:
    header = json.dumps({"inputs": [pixels_input(binary_data_size=size_bytes)]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    response = await infer(header + bytes(PIXEL_BYTES), headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("extra", "message"),
    [(b"", "1 bytes of binary data"), (b"", "does not hold the binary data")],
    ids=["longer", "truncated"],
)
async def test_a_binary_section_of_another_length_is_refused(extra: bytes, message: str) -> None:
    body, headers = pixels_body()
    changed = body + b"\0" if message.startswith("1 bytes") else body[:-1]
    response = await infer(changed + extra, headers=headers)
    assert response.status_code == 400
    assert message in message_of(response)


async def test_two_inputs_are_refused() -> None:
    inputs = [pixels_input(binary_data_size=PIXEL_BYTES)] * 2
    header = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    response = await infer(header + bytes(2 * PIXEL_BYTES), headers=headers)
    assert response.status_code == 400
    assert "exactly one" in message_of(response)


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "nothing"}],
        [{"name": "class_id"}, {"name": "class_id"}],
        [{"name": "class_id", "parameters": {"classification": 2}}],
        [{"name": "class_id", "parameters": {"binary_data": 1}}],
        [{"name": "class_id", "parameters": {"shared_memory_region": "r"}}],
    ],
)
async def test_outputs_that_cannot_be_had_are_refused(outputs: list[dict[str, Any]]) -> None:
    response = await infer_pixels(FakeClassifier(), outputs=outputs)
    assert response.status_code == 400


async def test_pixels_reach_the_classifier_as_they_are() -> None:
    classifier = FakeClassifier()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    header = json.dumps({"inputs": [pixels_input(2, binary_data_size=2 * PIXEL_BYTES)]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    response = await infer(header + pixels.tobytes(), classifier, headers=headers)
    assert response.status_code == 200
    assert classifier.images.dtype == np.uint8
    assert np.array_equal(classifier.images, pixels)


async def test_normalised_input_reaches_the_classifier_without_loss() -> None:
    classifier = FakeClassifier()
    values = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224]}
    response = await infer({"inputs": [tensor | {"data": values.ravel().tolist()}]}, classifier)
    assert response.status_code == 200
    assert classifier.images.dtype == np.float32
    assert np.array_equal(classifier.images, values)


async def test_the_access_log_and_the_timing_count_the_images() -> None:
    response = await infer_pixels(FakeClassifier(), num_images=3)
    assert 'desc="batch of 3"' in response.headers["Server-Timing"]
    assert response.headers["X-Model-Version"] == "test"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_is_limited_after_decompression_too(encoding: str) -> None:
    limits = Limits(max_request_bytes=10**6)
    body = compress(bytes(10**8), encoding)
    assert len(body) < 10**6
    response = await infer(body, headers={"Content-Encoding": encoding}, limits=limits)
    assert response.status_code == 413
    assert message_of(response) == "the request is larger than 1000000 bytes"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("damage", ["cut", "longer", "other"])
async def test_a_compressed_body_that_is_broken_is_refused(encoding: str, damage: str) -> None:
    whole = compress(b'{"inputs": []}', encoding)
    body = {"cut": whole[:-1], "longer": whole + b"x", "other": b"not compressed"}[damage]
    response = await infer(body, headers={"Content-Encoding": encoding})
    assert response.status_code == 400
    assert encoding in message_of(response)


async def test_another_content_encoding_is_refused() -> None:
    response = await infer(b"{}", headers={"Content-Encoding": "br"})
    assert response.status_code == 415


async def test_an_image_that_is_too_large_refuses_the_request() -> None:
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": len(JPEG) + 4},
                }
            ]
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    body = header + len(JPEG).to_bytes(4, "little") + JPEG
    response = await infer(body, headers=headers, limits=Limits(max_image_bytes=100))
    assert response.status_code == 413
    assert message_of(response) == "image 0: the image is larger than 100 bytes"


def compress(data: bytes, encoding: str) -> bytes:
    compressor = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    return compressor.compress(data) + compressor.flush()


async def test_the_metadata_say_which_engine_and_precision_are_in_effect() -> None:
    served = {"weights": "test", "engine": "fake", "device": "cpu", "precision": "fp32"}
    model = "/v2/models/densenet121"
    metadata = (await send(FakeClassifier(), "GET", model)).json()
    assert metadata["properties"] == served
    config = (await send(FakeClassifier(), "GET", f"{model}/config")).json()
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert served.items() <= parameters.items()
