"""The Open Inference Protocol, spoken by Triton's own clients to a running service."""

import base64
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from google.protobuf.json_format import MessageToDict
from numpy.typing import NDArray
from PIL import Image
from tritonclient.utils import InferenceServerException

from deployments.common.labels import load_classes
from deployments.ingress.images.preprocess import preprocess as decode_pixels
from testing.pictures import encode
from testing.reference import preprocess
from testing.reflection import VERSIONS, list_methods, list_services
from testing.service import ROOT, Service

MODEL = "densenet121"
INFER = f"/v2/models/{MODEL}/infer"
SHAPES = {"image": [-1], "pixels": [-1, 224, 224, 3], "input": [-1, 3, 224, 224]}
TYPES = {"image": "BYTES", "pixels": "UINT8", "input": "FP32"}
MIB = 2**20


@dataclass
class Triton:
    """One of Triton's clients: `tritonclient.http` or `tritonclient.grpc`."""

    module: ModuleType
    client: Any

    @property
    def over_grpc(self) -> bool:
        return self.module is tritonclient.grpc

    def make_input(self, name: str, values: NDArray[Any], datatype: str = "") -> Any:
        tensor = self.module.InferInput(name, values.shape, datatype or TYPES[name])
        return tensor.set_data_from_numpy(values)

    def infer(self, name: str, values: NDArray[Any], **options: Any) -> Any:
        return self.client.infer(MODEL, [self.make_input(name, values)], **options)

    def want(self, name: str, **options: Any) -> Any:
        return self.module.InferRequestedOutput(name, **options)

    def refusal(self, call: Callable[[], Any]) -> tuple[str, str]:
        """The status and the message of a call that is refused."""
        with pytest.raises(InferenceServerException) as caught:
            call()
        return caught.value.status().removeprefix("StatusCode."), caught.value.message()

    def parsed(self, answer: Any) -> dict[str, Any]:
        """Metadata as a dict, whichever client it came by."""
        if not self.over_grpc:
            return dict(answer)
        return to_dict(answer)


def to_dict(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


@pytest.fixture(scope="module", params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, service: Service) -> Iterator[Triton]:
    if request.param == "http":
        with tritonclient.http.InferenceServerClient(f"localhost:{service.port}") as client:
            yield Triton(tritonclient.http, client)
    else:
        with tritonclient.grpc.InferenceServerClient(f"localhost:{service.grpc_port}") as client:
            yield Triton(tritonclient.grpc, client)


@pytest.fixture(scope="session")
def png(pictures: list[Image.Image]) -> list[bytes]:
    return [encode(picture) for picture in pictures]


def values_of(name: str, pictures: Sequence[Image.Image]) -> NDArray[Any]:
    """The pictures as that input takes them."""
    files = [encode(picture) for picture in pictures]
    if name == "image":
        return np.array(files, dtype=object)
    if name == "pixels":
        return np.stack([decode_pixels(data, 10**6) for data in files])
    values: NDArray[np.float32] = preprocess(pictures).numpy()
    return values


@pytest.fixture(scope="module")
def predicted(service: Service, png: list[bytes]) -> tuple[list[str], NDArray[np.float32]]:
    """What `/predict` says of the first 32 pictures: class ids, and probabilities (32, 1000)."""
    files = [("file", (f"{index}.png", data)) for index, data in enumerate(png[:32])]
    response = requests.post(f"{service.url}/predict?top_k=1000", files=files, timeout=120)
    answers = list(response.json().values())
    index = {each.class_id: number for number, each in enumerate(load_classes())}
    rows = np.zeros((len(answers), 1000), np.float32)
    for row, answer in zip(rows, answers, strict=True):
        for each in answer["predictions"]:
            row[index[each["class_id"]]] = each["probability"]
    return [answer["class_id"] for answer in answers], rows


def class_ids(indexes: range) -> list[bytes]:
    return [load_classes()[index].class_id.encode() for index in indexes]


def test_the_server_and_the_model_are_alive_and_ready(triton: Triton) -> None:
    assert triton.client.is_server_live()
    assert triton.client.is_server_ready()
    assert triton.client.is_model_ready(MODEL)
    assert triton.client.is_model_ready(MODEL, "1")


def test_an_unknown_method_is_told_which_there_are(service: Service) -> None:
    refused = requests.get(service.url + INFER, timeout=60)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_the_metadata_of_the_server_names_the_extensions(triton: Triton) -> None:
    metadata = triton.parsed(triton.client.get_server_metadata())
    assert metadata["name"] == "densenet-serve"
    assert "classification" in metadata["extensions"]


def test_the_metadata_of_the_model_is_true(triton: Triton) -> None:
    metadata = triton.parsed(triton.client.get_model_metadata(MODEL))
    assert (metadata["name"], metadata["versions"]) == (MODEL, ["1"])
    inputs = {
        each["name"]: (each["datatype"], [int(length) for length in each["shape"]])
        for each in metadata["inputs"]
    }
    assert inputs == {name: (TYPES[name], shape) for name, shape in SHAPES.items()}
    outputs = {each["name"]: each["datatype"] for each in metadata["outputs"]}
    assert outputs == {"probabilities": "FP32", "class_id": "BYTES", "class_name": "BYTES"}


def test_the_configuration_names_the_weights_that_are_served(
    triton: Triton, service: Service
) -> None:
    config = triton.parsed(triton.client.get_model_config(MODEL))
    config = config.get("config", config)
    weights = config["parameters"]["weights"]["string_value"]
    assert weights == requests.get(f"{service.url}/readyz", timeout=5).headers["X-Model-Version"]
    assert [each["data_type"] for each in config["input"]] == [
        "TYPE_STRING",
        "TYPE_UINT8",
        "TYPE_FP32",
    ]


def test_the_repository_has_one_model(triton: Triton) -> None:
    index = triton.client.get_model_repository_index()
    models = to_dict(index)["models"] if triton.over_grpc else index
    assert [(model["name"], model["state"]) for model in models] == [(MODEL, "READY")]


@pytest.mark.parametrize("name", ["image", "pixels", "input"])
@pytest.mark.parametrize("num_images", [1, 32])
def test_every_input_is_answered_as_predict_answers_the_same_images(
    triton: Triton,
    predicted: tuple[list[str], NDArray[np.float32]],
    pictures: list[Image.Image],
    name: str,
    num_images: int,
) -> None:
    result = triton.infer(name, values_of(name, pictures[:num_images]))
    ids, probabilities = (each[:num_images] for each in predicted)
    assert result.as_numpy("class_id").tolist() == [each.encode() for each in ids]
    assert ids == [each.decode() for each in class_ids(range(num_images))]
    # Pixels are those that /predict makes; torchvision's own preprocessing differs by a trifle.
    tolerance = 0.02 if name == "input" else 1e-4
    assert np.abs(result.as_numpy("probabilities") - probabilities).max() < tolerance


@pytest.mark.parametrize("name", ["image", "pixels", "input"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["to_binary", "to_json"])
def test_tensors_travel_as_json_and_in_binary_both_ways(
    service: Service, pictures: list[Image.Image], name: str, binary_in: bool, binary_out: bool
) -> None:
    values = values_of(name, pictures[:2])
    if name == "image" and not binary_in:
        values = np.array([base64.b64encode(data) for data in values], dtype=object)
    tensor = tritonclient.http.InferInput(name, values.shape, TYPES[name])
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    outputs = [
        tritonclient.http.InferRequestedOutput(output, binary_data=binary_out)
        for output in ("class_name", "probabilities")
    ]
    with tritonclient.http.InferenceServerClient(f"localhost:{service.port}") as client:
        result = client.infer(MODEL, [tensor], outputs=outputs)
    for output in result.get_response()["outputs"]:
        assert ("data" in output) is not binary_out
    names = [load_classes()[index].class_name for index in range(2)]
    found = result.as_numpy("class_name").tolist()
    assert [each.decode() if binary_out else each for each in found] == names
    assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [0, 1]


def test_an_answer_without_binary_data_is_plain_json(service: Service, png: list[bytes]) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    data = [base64.b64encode(png[3]).decode()]
    response = requests.post(
        service.url + INFER, json={"id": "7", "inputs": [tensor | {"data": data}]}, timeout=60
    )
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", MODEL, "1")
    assert answer["parameters"] == {"weights": response.headers["X-Model-Version"]}
    outputs = {each["name"]: each for each in answer["outputs"]}
    assert list(outputs) == ["probabilities", "class_id", "class_name"]
    assert outputs["probabilities"]["shape"] == [1, 1000]
    assert outputs["class_id"]["data"] == [load_classes()[3].class_id]
    assert "queue;dur=" in response.headers["Server-Timing"]


def test_only_the_outputs_asked_for_are_answered_in_that_order(
    triton: Triton, pictures: list[Image.Image]
) -> None:
    wanted = ["class_name", "class_id"]
    result = triton.infer(
        "image",
        values_of("image", pictures[:1]),
        outputs=[triton.want(name) for name in wanted],
    )
    response = result.get_response()
    outputs = response.outputs if triton.over_grpc else response["outputs"]
    names = [each.name if triton.over_grpc else each["name"] for each in outputs]
    assert names == wanted
    assert result.as_numpy("probabilities") is None


def test_the_classification_extension_names_the_best_classes(
    triton: Triton, pictures: list[Image.Image]
) -> None:
    values = values_of("pixels", pictures[4:6])
    wanted = [triton.want("probabilities", class_count=3)]
    best = triton.infer("pixels", values, outputs=wanted).as_numpy("probabilities")
    probabilities = triton.infer("pixels", values).as_numpy("probabilities")
    assert best.shape == (2, 3)
    for row, expected, index in zip(best, probabilities, (4, 5), strict=True):
        scores = [float(each.split(b":")[0]) for each in row]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(expected.max(), abs=1e-5)
        assert row[0].split(b":")[1:] == [b"%d" % index, load_classes()[index].class_name.encode()]


def test_more_classes_than_there_are_is_all_of_them(
    triton: Triton, pictures: list[Image.Image]
) -> None:
    wanted = [triton.want("probabilities", class_count=5000)]
    result = triton.infer("pixels", values_of("pixels", pictures[:1]), outputs=wanted)
    assert result.as_numpy("probabilities").shape == (1, 1000)


def test_the_id_is_echoed_and_parameters_are_accepted(
    triton: Triton, pictures: list[Image.Image]
) -> None:
    options = {"request_id": "my-id", "priority": 3, "timeout": 60_000_000}
    parameters = {"camera": "north"}
    values = values_of("pixels", pictures[:1])
    result = triton.infer("pixels", values, parameters=parameters, **options)
    response = result.get_response()
    assert (response.id if triton.over_grpc else response["id"]) == "my-id"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_answered_like_a_plain_one(
    triton: Triton, pictures: list[Image.Image], algorithm: str
) -> None:
    key = "compression_algorithm" if triton.over_grpc else "request_compression_algorithm"
    result = triton.infer("pixels", values_of("pixels", pictures[2:3]), **{key: algorithm})
    assert result.as_numpy("class_id").tolist() == class_ids(range(2, 3))


@pytest.mark.parametrize(
    ("name", "datatype", "shape", "status", "code", "message"),
    [
        ("picture", "UINT8", [1, 224, 224, 3], "400", "INVALID_ARGUMENT", "no input 'picture'"),
        ("pixels", "FP32", [1, 224, 224, 3], "400", "INVALID_ARGUMENT", "UINT8, not 'FP32'"),
        ("pixels", "UINT8", [1, 3, 224, 224], "400", "INVALID_ARGUMENT", "has the shape"),
        ("pixels", "UINT8", [224, 224, 3], "400", "INVALID_ARGUMENT", "has the shape"),
        ("pixels", "UINT8", [0, 224, 224, 3], "400", "INVALID_ARGUMENT", "holds no image"),
        ("pixels", "UINT8", [33, 224, 224, 3], "413", "RESOURCE_EXHAUSTED", "32 images at most"),
    ],
)
def test_an_input_that_is_not_the_models_is_refused(
    triton: Triton,
    name: str,
    datatype: str,
    shape: list[int],
    status: str,
    code: str,
    message: str,
) -> None:
    values = np.zeros(shape, {"UINT8": np.uint8, "FP32": np.float32}[datatype])
    tensor = triton.make_input(name, values, datatype)
    refused = triton.refusal(lambda: triton.client.infer(MODEL, [tensor]))
    assert refused[0] == (code if triton.over_grpc else status)
    assert message in refused[1]


def test_an_image_that_is_broken_refuses_the_request_with_its_place(
    triton: Triton, png: list[bytes]
) -> None:
    values = np.array([png[0], png[1][:-500]], dtype=object)
    status, message = triton.refusal(lambda: triton.infer("image", values))
    assert status == ("INVALID_ARGUMENT" if triton.over_grpc else "422")
    assert message == "image 1: the PNG file is broken or incomplete"


def test_values_that_are_no_numbers_are_refused(triton: Triton) -> None:
    values = np.full((1, 3, 224, 224), np.nan, np.float32)
    status, message = triton.refusal(lambda: triton.infer("input", values))
    assert status == ("INVALID_ARGUMENT" if triton.over_grpc else "422")
    assert "image 0: its values are not all finite numbers" in message


def test_an_output_that_does_not_exist_is_refused(
    triton: Triton, pictures: list[Image.Image]
) -> None:
    values = values_of("pixels", pictures[:1])
    wanted = [triton.want("logits")]
    status, message = triton.refusal(lambda: triton.infer("pixels", values, outputs=wanted))
    assert status == ("INVALID_ARGUMENT" if triton.over_grpc else "400")
    assert "no output 'logits'" in message


@pytest.mark.parametrize(("model", "version"), [("resnet50", ""), (MODEL, "2")])
def test_a_model_or_version_that_does_not_exist_is_refused(
    triton: Triton, pictures: list[Image.Image], model: str, version: str
) -> None:
    tensor = triton.make_input("pixels", values_of("pixels", pictures[:1]))
    for call in (
        lambda: triton.client.infer(model, [tensor], model_version=version),
        lambda: triton.client.get_model_metadata(model, version),
        lambda: triton.client.get_model_config(model, version),
    ):
        assert triton.refusal(call)[0] == ("NOT_FOUND" if triton.over_grpc else "404")


def test_a_deadline_that_is_over_is_told(triton: Triton, pictures: list[Image.Image]) -> None:
    values = values_of("pixels", pictures[:1])
    status, message = triton.refusal(lambda: triton.infer("pixels", values, timeout=1))
    assert status == ("DEADLINE_EXCEEDED" if triton.over_grpc else "504")
    assert message == "the request's time is up"


def test_a_request_over_the_limit_is_refused(triton: Triton) -> None:
    values = np.array([bytes(65 * MIB)], dtype=object)
    status, _ = triton.refusal(lambda: triton.infer("image", values))
    assert status == ("RESOURCE_EXHAUSTED" if triton.over_grpc else "413")


def test_a_request_over_the_limit_once_it_is_decompressed_is_refused(triton: Triton) -> None:
    key = "compression_algorithm" if triton.over_grpc else "request_compression_algorithm"
    values = np.array([bytes(65 * MIB)], dtype=object)
    status, _ = triton.refusal(lambda: triton.infer("image", values, **{key: "gzip"}))
    assert status == ("RESOURCE_EXHAUSTED" if triton.over_grpc else "413")


def raw_request(changes: dict[str, Any], cut: int, header_shift: int) -> tuple[bytes, str]:
    size_bytes = 224 * 224 * 3
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 224, 224, 3]} | changes
    tensor["parameters"] = {"binary_data_size": size_bytes}
    header = json.dumps({"inputs": [tensor]}).encode()
    return (header + bytes(size_bytes))[: -cut or None], str(len(header) + header_shift)


@pytest.mark.parametrize(
    ("changes", "cut", "header_shift"),
    [
        ({}, 1, 0),
        ({}, 224 * 224 * 3, 0),
        ({}, 0, 1),
        ({}, 0, -1),
        ({}, 0, 10**9),
        ({"shape": [2, 224, 224, 3]}, 0, 0),
    ],
    ids=["truncated", "without", "longer_header", "shorter_header", "lying_header", "shape"],
)
def test_a_binary_section_that_is_not_what_was_said_is_refused(
    service: Service, changes: dict[str, Any], cut: int, header_shift: int
) -> None:
    body, length = raw_request(changes, cut, header_shift)
    headers = {"Inference-Header-Content-Length": length}
    response = requests.post(service.url + INFER, data=body, headers=headers, timeout=60)
    assert response.status_code == 400
    assert response.json().keys() == {"error"}


def test_the_two_transports_answer_the_same(service: Service, pictures: list[Image.Image]) -> None:
    values = values_of("input", pictures[:3])
    answers = []
    for module, port in ((tritonclient.http, service.port), (tritonclient.grpc, service.grpc_port)):
        with module.InferenceServerClient(f"localhost:{port}") as client:
            answers.append(Triton(module, client).infer("input", values))
    first, second = (answer.as_numpy("probabilities") for answer in answers)
    assert np.abs(first - second).max() < 1e-5


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("ModelInfer", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("ModelStatistics", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("SystemSharedMemoryStatus", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_a_call_that_cannot_be_read_or_is_not_served_is_refused(
    service: Service, method: str, message: bytes, code: grpc.StatusCode
) -> None:
    with grpc.insecure_channel(f"localhost:{service.grpc_port}") as channel:
        call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=30)
    assert caught.value.code() == code
    assert "Traceback" not in caught.value.details()


@pytest.mark.parametrize("version", VERSIONS)
def test_server_reflection_answers_in_each_version(service: Service, version: str) -> None:
    services = list_services(service.grpc_port, version)
    assert services >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
    methods = list_methods(service.grpc_port, version, "inference.GRPCInferenceService")
    assert "ModelInfer" in methods


def test_grpc_is_not_reachable_at_another_address_of_the_machine(service: Service) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; names our address on that way
        except OSError:
            pytest.skip("this machine has no address but its own loopback")
        address = probe.getsockname()[0]
    with tritonclient.grpc.InferenceServerClient(f"{address}:{service.grpc_port}") as client:
        status, _ = Triton(tritonclient.grpc, client).refusal(client.is_server_live)
    assert status == "UNAVAILABLE"


def test_the_documents_examples_run(service: Service, png: list[bytes], tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```",
        (ROOT / "docs" / "open-inference-protocol.md").read_text(),
        re.DOTALL,
    )
    examples = [block for block in blocks if "import tritonclient" in block]
    assert len(examples) == 2
    for index, name in enumerate(("cat1.jpg", "dog1.jpg")):
        (tmp_path / name).write_bytes(png[index])
    for example in examples:
        code = example.replace("localhost:5000", f"localhost:{service.port}")
        code = code.replace("localhost:5001", f"localhost:{service.grpc_port}")
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        for index in range(2):
            assert load_classes()[index].class_name in run.stdout
