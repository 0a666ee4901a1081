"""The contract of the two classification routes, over HTTP against a running service."""

import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from deployments.common.labels import load_classes
from deployments.model.cache import checkpoint_path
from deployments.model.spec import SPEC
from deployments.model.weights import resolve
from testing.pictures import encode, list_photos
from testing.reference import classify, load_reference
from testing.service import Service

Files = list[tuple[str, tuple[str, bytes]]]

MIB = 2**20


@pytest.fixture(scope="session")
def png(pictures: list[Image.Image]) -> list[bytes]:
    return [encode(picture) for picture in pictures]


def as_files(images: dict[str, bytes]) -> Files:
    return [("file", (name, data)) for name, data in images.items()]


def send(service: Service, files: Files, path: str = "/predict", **options: Any) -> Any:
    return requests.post(service.url + path, files=files, timeout=60, **options)


def post(service: Service, images: dict[str, bytes], path: str = "/predict") -> requests.Response:
    response: requests.Response = send(service, as_files(images), path)
    return response


def class_of(index: int) -> dict[str, str]:
    return load_classes()[index]._asdict()


def error_of(response: requests.Response) -> tuple[int, str]:
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message"}
    return response.status_code, body["error"]["code"]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header declares so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, b"IDAT", end)
    )


def receive(connection: socket.socket) -> bytes:
    """Read an answer whose body is an error."""
    answer = b""
    while not answer.endswith(b"}}"):
        received = connection.recv(65536)
        assert received, answer
        answer += received
    return answer


# The first server's client.


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_predict_answers_by_file_name_in_the_order_sent(
    service: Service, png: list[bytes], method: str
) -> None:
    files = as_files({"z.png": png[3], "a.png": png[1], "m.png": png[2]})
    response = requests.request(method, f"{service.url}/predict", files=files, timeout=60)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json().items()) == [
        ("z.png", class_of(3)),
        ("a.png", class_of(1)),
        ("m.png", class_of(2)),
    ]


def test_predict_takes_any_field_name(service: Service, png: list[bytes]) -> None:
    files = [("photo", ("1", png[1])), ("other[]", ("2", png[2]))]
    assert send(service, files).json() == {"1": class_of(1), "2": class_of(2)}


def test_repeated_names_lose_no_result(service: Service, png: list[bytes]) -> None:
    files = [("file", (name, png[i])) for i, name in enumerate(["a", "a", "a (2)", "a"])]
    assert send(service, files).json() == {
        "a": class_of(0),
        "a (3)": class_of(1),
        "a (2)": class_of(2),
        "a (4)": class_of(3),
    }


def test_names_come_back_as_sent(service: Service, png: list[bytes]) -> None:
    names = ["../up.png", "<script>.png", "Käse 猫.png"]
    response = post(service, dict(zip(names, png, strict=False)))
    assert list(response.json()) == names


# The second server's client.


def test_run_inference_answers_the_bare_object(service: Service, png: list[bytes]) -> None:
    response = post(service, {"cat.png": png[4]}, "/run_inference")
    assert (response.status_code, response.json()) == (200, class_of(4))


# Raw bodies and top_k.


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream"])
def test_a_raw_body_goes_by_image(service: Service, png: list[bytes], content_type: str) -> None:
    headers = {"Content-Type": content_type}
    for path, expected in (("/predict", {"image": class_of(5)}), ("/run_inference", class_of(5))):
        response = requests.post(service.url + path, png[5], headers=headers, timeout=60)
        assert response.json() == expected


@pytest.mark.parametrize("top_k", [1, 5, 1000])
def test_top_k_adds_the_best_classes(service: Service, png: list[bytes], top_k: int) -> None:
    result = post(service, {"a": png[6]}, f"/run_inference?top_k={top_k}").json()
    predictions = result.pop("predictions")
    assert result == class_of(6)
    assert len(predictions) == top_k
    assert {key: predictions[0][key] for key in ("class_id", "class_name")} == class_of(6)
    probabilities = [prediction["probability"] for prediction in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    if top_k == 1000:
        assert sum(probabilities) == pytest.approx(1, abs=1e-3)
        assert {prediction["class_id"] for prediction in predictions} == {
            image_class.class_id for image_class in load_classes()
        }


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_format_is_classified(
    service: Service, pictures: list[Image.Image], image_format: str
) -> None:
    data = encode(pictures[7], image_format)
    assert post(service, {"a": data}, "/run_inference").json() == class_of(7)


# What is wrong with one image.


def test_broken_images_cost_the_others_nothing(service: Service, png: list[bytes]) -> None:
    response = post(
        service,
        {
            "good": png[8],
            "cut": png[8][: len(png[8]) // 2],
            "text": b"hello",
            "pixels": bomb(10_000, 10_000),
            "bytes": b"\xff\xd8\xff" + bytes(10 * MIB),
            "also good": png[9],
        },
    )
    assert response.status_code == 200
    body = response.json()
    assert body["good"] == class_of(8)
    assert body["also good"] == class_of(9)
    codes = {name: entry["error"]["code"] for name, entry in body.items() if "error" in entry}
    assert codes == {
        "cut": "undecodable_image",
        "text": "unsupported_media_type",
        "pixels": "image_too_large",
        "bytes": "image_too_large",
    }
    assert list(body) == ["good", "cut", "text", "pixels", "bytes", "also good"]


@pytest.mark.parametrize("path", ["/predict", "/run_inference"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n broken", (422, "undecodable_image")),
        (b"no image", (415, "unsupported_media_type")),
        (bomb(225_000, 225_000), (413, "image_too_large")),
        (b"\xff\xd8\xff" + bytes(10 * MIB), (413, "image_too_large")),
    ],
    ids=["broken", "text", "pixels", "bytes"],
)
def test_a_lone_failure_is_the_answer(
    service: Service, path: str, data: bytes, expected: tuple[int, str]
) -> None:
    assert error_of(post(service, {"a": data}, path)) == expected
    raw = requests.post(service.url + path, data, headers={"Content-Type": "image/png"}, timeout=60)
    assert error_of(raw) == expected


def test_when_all_fail_the_status_is_the_firsts(service: Service) -> None:
    response = post(service, {"text": b"hello", "cut": b"\x89PNG\r\n\x1a\n"})
    assert response.status_code == 415
    body = response.json()
    assert body["text"]["error"]["code"] == "unsupported_media_type"
    assert body["cut"]["error"]["code"] == "undecodable_image"


# What is wrong with the request.


@pytest.mark.parametrize("top_k", ["0", "1001", "-1", "many", "1.5", ""])
def test_a_bad_top_k_is_malformed(service: Service, png: list[bytes], top_k: str) -> None:
    response = post(service, {"a": png[0]}, f"/predict?top_k={top_k}")
    assert error_of(response) == (400, "malformed_request")


@pytest.mark.parametrize("deadline", ["0", "-5", "soon"])
def test_a_bad_deadline_is_malformed(service: Service, png: list[bytes], deadline: str) -> None:
    response = send(service, as_files({"a": png[0]}), headers={"X-Deadline-Ms": deadline})
    assert error_of(response) == (400, "malformed_request")


def test_broken_multipart_is_malformed(service: Service) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = requests.post(f"{service.url}/predict", b"--x", headers=headers, timeout=60)
    assert error_of(response) == (400, "malformed_request")


@pytest.mark.parametrize("path", ["/predict", "/run_inference"])
def test_an_empty_request_holds_no_image(service: Service, path: str) -> None:
    assert error_of(requests.post(service.url + path, timeout=60)) == (400, "no_image")
    fields = {"agree": (None, "yes")}
    assert error_of(requests.post(service.url + path, files=fields, timeout=60)) == (
        400,
        "no_image",
    )
    if path == "/predict":
        assert error_of(requests.get(service.url + path, timeout=60)) == (400, "no_image")


def test_run_inference_takes_one_image_only(service: Service, png: list[bytes]) -> None:
    response = post(service, {"a": png[0], "b": png[1]}, "/run_inference")
    assert error_of(response) == (400, "one_image_expected")


def test_an_unknown_path_is_not_found(service: Service) -> None:
    assert error_of(requests.get(f"{service.url}/nowhere", timeout=60)) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/run_inference", "POST"),
        ("/predict", "GET, HEAD, POST"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_an_unknown_method_is_told_which_there_are(
    service: Service, path: str, allowed: str
) -> None:
    refused = requests.delete(service.url + path, timeout=60)
    assert error_of(refused) == (405, "method_not_allowed")
    assert set(refused.headers["Allow"].split(", ")) == set(allowed.split(", "))


def test_another_body_is_unsupported(service: Service) -> None:
    response = requests.post(f"{service.url}/predict", json={"a": 1}, timeout=60)
    assert error_of(response) == (415, "unsupported_media_type")


def test_more_than_32_images_are_refused(service: Service, png: list[bytes]) -> None:
    files = [("file", (f"{i}.png", png[i % len(png)])) for i in range(33)]
    assert error_of(send(service, files)) == (413, "too_many_images")
    assert len(send(service, files[:32]).json()) == 32


def test_a_declared_length_over_the_limit_is_refused_before_it_is_sent(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 67108865\r\n\r\n"
        )
        answer = receive(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"request_too_large"' in answer


def test_a_body_without_a_length_is_refused_at_the_limit(service: Service) -> None:
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(65):  # one MiB over, and never ended
            connection.sendall(chunk)
        answer = receive(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"request_too_large"' in answer


def test_a_deadline_that_passes_is_exceeded(service: Service, png: list[bytes]) -> None:
    response = send(service, as_files({"a": png[0]}), headers={"X-Deadline-Ms": "1"})
    assert error_of(response) == (504, "deadline_exceeded")


def test_what_would_wait_past_its_deadline_is_refused_at_once(
    service: Service, png: list[bytes]
) -> None:
    files = [("file", (f"{i}.png", png[i])) for i in range(32)]
    headers = {"X-Deadline-Ms": "600"}
    with ThreadPoolExecutor(8) as pool:
        large = [pool.submit(send, service, files) for _ in range(3)]
        refused: list[requests.Response] = []
        while not all(upload.done() for upload in large):
            response = send(service, as_files({"a": png[0]}), headers=headers)
            if response.status_code == 503:
                refused.append(response)
        assert [len(upload.result().json()) for upload in large] == [32] * 3
    assert refused
    assert error_of(refused[0]) == (503, "overloaded")
    assert int(refused[0].headers["Retry-After"]) >= 1


# Nobody gets another's answer.


def test_hundreds_of_concurrent_requests_each_get_their_own_classes(
    service: Service, png: list[bytes]
) -> None:
    def ask(number: int) -> None:
        wanted = [(number * 7 + i) % len(png) for i in range((1, 1, 2, 1)[number % 4])]
        images = {f"{number}-{place}": png[index] for place, index in enumerate(wanted)}
        response = post(service, images)
        assert response.status_code == 200, response.text
        expected = [class_of(index) for index in wanted]
        assert list(response.json().values()) == expected

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(ask, range(200)))


def test_probabilities_are_those_of_torchvision_in_fp32(
    service: Service, checkpoint: Path, pictures: list[Image.Image], record_property: Any
) -> None:
    images = {f"picture {i}": picture for i, picture in enumerate(pictures)}
    images |= {path.name: Image.open(path) for path in list_photos()}
    expected = classify(load_reference(checkpoint), list(images.values())).numpy()
    sources = [encode(picture) for picture in pictures]
    sources += [path.read_bytes() for path in list_photos()]
    worst = 0.0
    for start in range(0, len(images), 32):
        part = dict(zip(list(images)[start : start + 32], sources[start:], strict=False))
        body = post(service, part, "/predict?top_k=1000").json()
        for row, result in zip(expected[start:], body.values(), strict=False):
            by_id = {p["class_id"]: p["probability"] for p in result["predictions"]}
            got = [by_id[image_class.class_id] for image_class in load_classes()]
            worst = max(worst, abs(row - got).max())
            assert result["class_id"] == load_classes()[int(row.argmax())].class_id
    record_property("largest difference in probability", float(worst))
    assert worst < 0.02


@pytest.mark.skipif(
    not (checkpoint_path(SPEC.official.name).is_file() and list_photos()),
    reason="the official checkpoint is not in torch's cache, or there are no photographs",
)
def test_the_official_weights_know_the_five_animals() -> None:
    import numpy as np

    from deployments.ingress.images.preprocess import preprocess
    from deployments.model.base import load_model

    names = [
        "n02099712_Labrador_retriever",
        "n02109961_Eskimo_dog",
        "n02124075_Egyptian_cat",
        "n02123394_Persian_cat",
        "n02356798_fox_squirrel",
    ]
    photos = [path for path in list_photos() if path.stem in names]
    images = np.stack([preprocess(path.read_bytes(), 10**8) for path in photos])
    rows = load_model(resolve("imagenet"), "cpu").predict(images)
    found = [load_classes()[int(row.argmax())] for row in rows]
    assert sorted("_".join(image_class) for image_class in found) == sorted(names)
