"""The gRPC methods with a classifier that does as told; the proxy's side is a stub."""

import logging
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from deployments.common.errors import Overloaded
from deployments.common.settings import Limits
from deployments.ingress.auth import ApiKeys, generate_api_key
from deployments.ingress.images.pipeline import Pipeline
from deployments.ingress.v2.grpc import InferenceServicer
from deployments.ingress.v2.grpc_table import RPCS
from deployments.ingress.v2.model import InferenceModel
from testing.fake_classifier import FakeClassifier

pytestmark = pytest.mark.anyio


class Context:
    """Of `RayServegRPCContext`, what the methods use."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata
        self._code: grpc.StatusCode | None = None
        self.details = ""

    def trailing_metadata(self) -> list[tuple[str, str]]:
        return [("request_id", "an-id")]

    def peer(self) -> str:
        return "ipv4:10.0.0.7:4000"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self.details = details


def make_servicer(
    classifier: FakeClassifier | None = None, keys: ApiKeys | None = None, **limits: Any
) -> Any:
    model = InferenceModel(Pipeline(classifier or FakeClassifier(), Limits(**limits)))
    return InferenceServicer(model, keys)


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


KEY, KEY_LINE = generate_api_key("alice")


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    path = tmp_path / "keys"
    path.write_text(KEY_LINE)
    return ApiKeys(path)


async def test_a_call_without_a_key_is_rejected_unless_it_asks_for_health(keys: ApiKeys) -> None:
    servicer = make_servicer(keys=keys)
    rejected = set()
    for name in RPCS:
        context = Context()
        await getattr(servicer, name)(b"", context)
        if context.code() == grpc.StatusCode.UNAUTHENTICATED:
            rejected.add(name)
    assert RPCS.keys() - rejected == {"ServerLive", "ServerReady", "Check"}


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_call_with_a_key_is_admitted_under_its_clients_name(
    header: str, keys: ApiKeys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    context = Context((header, f"Bearer {KEY}" if header == "authorization" else KEY))
    await call(make_servicer(keys=keys), make_request(), context)
    assert context.code() is None
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["client"], fields["client_address"]) == ("alice", "ipv4:10.0.0.7:4000")


async def test_the_access_log_has_what_haproxy_and_the_client_say_of_a_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    context = Context(("user-agent", "grpc-python/1.80"), ("x-forwarded-for", "192.0.2.7"))
    await call(make_servicer(), make_request(), context)
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["user_agent"], fields["client_address"]) == ("grpc-python/1.80", "192.0.2.7")


async def test_the_access_log_names_the_error_of_a_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    await make_servicer().ModelInfer(b"\xff", Context())
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["status"], fields["error"]) == ("INVALID_ARGUMENT", "malformed_request")


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
@pytest.mark.parametrize("is_ready", [True, False])
async def test_the_standard_health_service_follows_readiness(service: str, is_ready: bool) -> None:
    servicer, context = make_servicer(FakeClassifier(is_ready=is_ready)), Context()
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    response = await servicer.Check(request, context)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert (response.status == serving) is is_ready
    assert context.code() is None


async def test_the_standard_health_service_knows_no_other_service() -> None:
    servicer, context = make_servicer(), Context()
    request = health_pb2.HealthCheckRequest(service="other").SerializeToString()
    await servicer.Check(request, context)
    assert context.code() == grpc.StatusCode.NOT_FOUND


async def test_without_keys_a_client_on_another_machine_is_rejected() -> None:
    model = InferenceModel(Pipeline(FakeClassifier(), Limits()))
    context = Context()  # its peer is on another machine
    servicer: Any = InferenceServicer(model, local_only=True)
    await servicer.ServerLive(b"", context)
    assert context.code() == grpc.StatusCode.PERMISSION_DENIED
