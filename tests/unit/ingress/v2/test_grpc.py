"""The gRPC methods with a classifier that does as told; the proxy's side is a stub."""

import logging
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from deployments.common.errors import Overloaded
from deployments.common.settings import GrpcClients, Limits
from deployments.ingress.v2.grpc import InferenceServicer, is_local
from deployments.ingress.v2.model import InferenceModel
from testing.fake_classifier import FakeClassifier

pytestmark = pytest.mark.anyio


class Context:
    """Of `RayServegRPCContext`, what the methods use."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:4000") -> None:
        self._peer = peer
        self._code: grpc.StatusCode | None = None
        self.details = ""

    def peer(self) -> str:
        return self._peer

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self.details = details


def make_servicer(
    classifier: FakeClassifier | None = None, clients: GrpcClients = "local", **limits: Any
) -> Any:
    model = InferenceModel(classifier or FakeClassifier(), Limits(**limits))
    return InferenceServicer(model, clients)


def make_request(num_images: int = 1, **fields: Any) -> Any:
    shape = [num_images, 224, 224, 3]
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="pixels", datatype="UINT8", shape=shape
    )
    request = service_pb2.ModelInferRequest(model_name="densenet121", inputs=[tensor], **fields)
    if "raw_input_contents" not in fields:
        request.raw_input_contents.append(np.zeros(shape, np.uint8).tobytes())
    return request


async def call(servicer: Any, request: Any, context: Context) -> Any:
    return await servicer.ModelInfer(request.SerializeToString(), context)


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:4000", True),
        ("ipv4:127.8.8.8:4000", True),
        ("ipv6:[::1]:4000", True),
        ("ipv6:%5B::1%5D:4000", True),
        ("ipv6:[::ffff:127.0.0.1]:4000", True),
        ("unix:/run/socket", True),
        ("ipv4:10.0.0.7:4000", False),
        ("ipv6:[2001:db8::1]:4000", False),
        ("ipv6:[::ffff:10.0.0.7]:4000", False),
        ("", False),
        ("vsock:3:5", False),
    ],
)
def test_a_peer_is_local_or_not_by_its_address(peer: str, local: bool) -> None:
    assert is_local(peer) is local


async def test_a_client_from_elsewhere_is_refused_unless_any_is_answered() -> None:
    context = Context("ipv4:10.0.0.7:4000")
    await call(make_servicer(), make_request(), context)
    assert context.code() == grpc.StatusCode.PERMISSION_DENIED
    context = Context("ipv4:10.0.0.7:4000")
    answer = await call(make_servicer(clients="any"), make_request(), context)
    assert context.code() is None
    assert answer.outputs


async def test_a_message_over_the_limit_is_refused_before_it_is_parsed() -> None:
    context = Context()
    await make_servicer(max_request_bytes=10).ModelInfer(b"\xff" * 11, context)
    assert context.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert context.details == "the request is larger than 10 bytes"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("too many"), grpc.StatusCode.UNAVAILABLE),
        (RuntimeError("secret"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_what_goes_wrong_is_told_by_the_code_and_never_raised(
    error: Exception, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context()
    with caplog.at_level(logging.CRITICAL, "ray.serve"):
        await call(make_servicer(FakeClassifier(error)), make_request(), context)
    assert context.code() == code
    assert "secret" not in context.details


async def test_before_a_classifier_is_ready_the_server_says_so() -> None:
    servicer, context = make_servicer(FakeClassifier(is_ready=False)), Context()
    answer: Any = await servicer.ServerReady(b"", context)
    assert answer.ready is False
    assert context.code() is None
    await call(servicer, make_request(), context)
    assert context.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("raw", [[b""], [bytes(10)], [bytes(150_528)] * 2])
async def test_raw_contents_that_do_not_fit_the_inputs_are_refused(raw: list[bytes]) -> None:
    context = Context()
    await call(make_servicer(), make_request(raw_input_contents=raw), context)
    assert context.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_typed_contents_are_read_like_raw_ones() -> None:
    classifier = FakeClassifier()
    request = make_request(raw_input_contents=[])
    request.inputs[0].contents.uint_contents.extend([7] * 150_528)
    context = Context()
    await call(make_servicer(classifier), request, context)
    assert context.code() is None
    assert (classifier.images == 7).all()


async def test_one_image_too_many_is_refused() -> None:
    context = Context()
    await call(make_servicer(max_images=2), make_request(3), context)
    assert context.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
