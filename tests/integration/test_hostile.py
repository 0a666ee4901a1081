"""What is sent to hurt, over sockets to a running service: an answer each, and memory bounded."""

import json
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from testing.pictures import encode
from testing.service import Service

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
MIB = 2**20
TIMEOUT_S = 30.0
OF_THE_DESIGN = {
    200: {""},
    400: {"malformed_request", "no_image", "one_image_expected"},
    413: {"request_too_large", "too_many_images", "image_too_large"},
    415: {"unsupported_media_type"},
    422: {"undecodable_image"},
}


@pytest.fixture(autouse=True)
def unhurt(service: Service, pictures: list[Image.Image]) -> Iterator[None]:
    """After every attack the same processes answer as before, each in 50 MB more at most."""
    before = service.front_bytes()
    assert len(before) == 2
    yield
    give_up = time.monotonic() + 30
    while (grown := growth(service, before)) > 50 * 10**6 and time.monotonic() < give_up:
        time.sleep(0.2)  # what is free is given back in a while
    assert grown < 50 * 10**6
    assert service.front_bytes().keys() == before.keys()
    assert classify(service, encode(pictures[0])).status_code == 200


def growth(service: Service, before: dict[int, int]) -> int:
    after = service.front_bytes()
    return max(after[pid] - before[pid] for pid in before)


def classify(service: Service, image: bytes) -> requests.Response:
    headers = {"Content-Type": "image/png"}
    return requests.post(f"{service.url}/run_inference", image, headers=headers, timeout=TIMEOUT_S)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_S)


def head(*lines: str, content_type: str = "image/png") -> bytes:
    first = ("POST /predict HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def read_answer(client: socket.socket) -> tuple[int, str]:
    """Status and error code; (0, "") where the connection is closed without an answer."""
    received = b""
    try:
        while not (match := re.match(rb"(?s)HTTP/1.1 (\d+) .*?\r\n\r\n(.*})", received)):
            if not (data := client.recv(2**16)):
                break
            received += data
    except ConnectionError:
        return 0, ""
    if match is None:
        return int(received[9:12] or 0), ""
    return int(match[1]), code_of(json.loads(match[2]))


def code_of(body: Any) -> str:
    """Of an error's body or an image's entry; empty where it is no error."""
    return str(body["error"]["code"]) if "error" in body else ""


def ask(service: Service, *pieces: bytes) -> tuple[int, str]:
    with connect(service) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
        except ConnectionError:
            return 0, ""
        return read_answer(client)


def form(service: Service, body: bytes) -> tuple[int, str]:
    content_type = "multipart/form-data; boundary=b"
    return ask(service, head(f"Content-Length: {len(body)}", content_type=content_type), body)


def part(data: bytes, headers: bytes = b'Content-Disposition: form-data; name="a"') -> bytes:
    return b"--b\r\n" + headers + b"\r\n\r\n" + data + b"\r\n"


def test_hundreds_of_slow_senders_time_out_and_hold_up_nobody(
    service: Service, pictures: list[Image.Image]
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(200)]
        for client in clients:
            client.sendall(head("Content-Length: 1000000", "X-Deadline-Ms: 6000") + b"x" * 1000)
        started = time.monotonic()
        assert classify(service, encode(pictures[0])).status_code == 200
        assert time.monotonic() - started < 5  # they are all still sending
        answers = {read_answer(client) for client in clients}
    assert answers == {(504, "deadline_exceeded")}


def test_clients_that_stop_half_way_leave_nothing_behind(service: Service) -> None:
    for _ in range(20):
        with connect(service) as client:
            client.sendall(head(f"Content-Length: {20 * MIB}"))
            client.sendall(bytes(5 * MIB))


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_sent(
    service: Service,
) -> None:
    for path_of_none in (head("Content-Length: 67108865"), head("Content-Length: " + "9" * 18)):
        assert ask(service, path_of_none) == (413, "request_too_large")
    waiting = head("Content-Length: 67108865", "Expect: 100-continue")
    assert ask(service, waiting) == (413, "request_too_large")


def test_a_body_without_a_length_is_read(service: Service, pictures: list[Image.Image]) -> None:
    data = encode(pictures[0])
    chunked = b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"
    assert ask(service, head("Transfer-Encoding: chunked"), chunked)[0] == 200


def test_a_body_without_a_length_is_cut_at_the_limit(service: Service) -> None:
    piece = b"100000\r\n" + bytes(MIB) + b"\r\n"
    answer = ask(service, head("Transfer-Encoding: chunked"), *[piece] * 80)
    assert answer in {(413, "request_too_large"), (0, "")}


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: +3"],
        ["Content-Length: 3x"],
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
    ],
)
def test_a_length_that_is_none_is_refused(service: Service, lines: list[str]) -> None:
    assert ask(service, head(*lines), b"abc")[0] == 400


def test_a_length_that_lies_ends_in_an_answer_or_a_closed_connection(
    service: Service, pictures: list[Image.Image]
) -> None:
    data = encode(pictures[0])
    with connect(service) as client:
        client.sendall(head(f"Content-Length: {len(data) + 1}") + data)
        client.shutdown(socket.SHUT_WR)
        assert read_answer(client)[0] in (0, 400)
    with connect(service) as client:
        client.sendall(head(f"Content-Length: {len(data) // 2}") + data)
        assert read_answer(client) in {(422, "undecodable_image"), (400, "")}


def test_ten_thousand_tiny_parts_are_refused(service: Service) -> None:
    assert form(service, part(b"x") * 10_000 + b"--b--\r\n") == (400, "malformed_request")


@pytest.mark.parametrize(
    "headers",
    [
        b'Content-Disposition: form-data; name="a"; filename="' + b"x" * MIB + b'"',
        b"X: " + b"y" * MIB,
        b"X" * MIB + b": y",
        b"X: y\r\n" * 100_000,
        b'Content-Disposition: form-data; name="a"; filename="b"' + b"; c=d" * 100_000,
        b"no colon",
        b"\x00: \xff",
    ],
)
def test_hostile_headers_of_a_part_are_refused(service: Service, headers: bytes) -> None:
    assert form(service, part(b"x", headers) + b"--b--\r\n") == (400, "malformed_request")


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" * 200_000,
        b"--b--" * 200_000,
        b"\r\n--b" * 200_000,
        b"--b\r\n\r\n" + b"\r\n--" * 250_000,
        part(b"x")[:-1] + b"\r" * MIB,
        b"x" * MIB + part(b"x") + b"--b--\r\n",
        b"\r\n" * 500_000,
    ],
)
def test_boundaries_over_and_over_and_bytes_before_them_are_refused(
    service: Service, body: bytes
) -> None:
    status, code = form(service, body)
    assert (status, code) in {(400, "malformed_request"), (400, "no_image")}


def test_bytes_after_the_parts_are_ignored(service: Service, pictures: list[Image.Image]) -> None:
    headers = b'Content-Disposition: form-data; name="a"; filename="b"'
    body = part(encode(pictures[0]), headers) + b"--b--\r\n" + b"x" * MIB
    assert form(service, body) == (200, "")


def test_an_offer_of_a_websocket_is_ignored(service: Service) -> None:
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    for path, status in (("/predict", 400), ("/static/x", 404)):
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *upgrade]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        assert ask(service, "\r\n".join([*lines, "", ""]).encode())[0] == status


def cut_png(side_px: int) -> bytes:
    """A picture of one colour whose file ends half way."""
    data = encode(Image.new("RGB", (side_px, side_px)))
    return data[: len(data) // 2]


def gif_of_a_large_frame(side_px: int) -> bytes:
    """Nothing but a frame, larger than its screen, that is to be cleared after it was shown."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 100, 100, 0x80, 0, 0) + bytes(6)
    control = b"\x21\xf9\x04" + bytes([2 << 2, 0, 0, 0, 0])
    frame = b"," + struct.pack("<HHHHB", 0, 0, side_px, side_px, 0)
    return screen + control + frame + b"\x02\x02\x44\x01\x00;"


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(cut_png(7000), "undecodable_image", id="PNG"),
        pytest.param(gif_of_a_large_frame(9_999), "image_too_large", id="GIF"),
        pytest.param(gif_of_a_large_frame(30_000), "image_too_large", id="GIF-of-a-larger-frame"),
    ],
)
def test_files_of_a_few_bytes_do_not_add_up_to_gigabytes(
    service: Service, image: bytes, code: str
) -> None:
    before, most_bytes = service.front_bytes(), 0
    with ThreadPoolExecutor(1) as pool:
        files = [("file", (f"{i}", image)) for i in range(16)]
        answer = pool.submit(
            requests.post, f"{service.url}/predict", files=files, timeout=TIMEOUT_S
        )
        while not answer.done():
            most_bytes = max(most_bytes, growth(service, before))
            time.sleep(0.02)  # the decoders want the cores
    assert {code_of(entry) for entry in answer.result().json().values()} == {code}
    # As many pictures as there are decoders, at four bytes a pixel.
    assert most_bytes < len(os.sched_getaffinity(0)) * 4 * 7000**2 + 50 * 10**6


def corpus(folder: str, pattern: str) -> list[Path]:
    paths = sorted((CORPORA / folder).glob(pattern))
    if not paths:
        pytest.skip("there is no ../shared/corpora")
    return paths


def test_every_hostile_image_gets_an_answer_of_the_design(service: Service) -> None:
    paths = [path for path in corpus("images", "**/*") if path.is_file()]
    paths += corpus("orientation", "*")
    groups = [paths[start : start + 32] for start in range(0, len(paths), 32)]

    def send(group: list[Path]) -> dict[str, Any]:
        files = [("file", (f"{i}.bin", path.read_bytes())) for i, path in enumerate(group)]
        response = requests.post(f"{service.url}/predict", files=files, timeout=TIMEOUT_S)
        entries: dict[str, Any] = response.json()
        assert response.status_code == 200 or len(entries) == len(group), response.text
        return entries

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(send, groups))
    entries = [entry for answer in answers for entry in answer.values()]
    assert len(entries) == len(paths)
    codes = {code_of(entry) for entry in entries}
    assert codes == {"", "image_too_large", "undecodable_image", "unsupported_media_type"}


def test_every_hostile_form_gets_an_answer_of_the_design(service: Service) -> None:
    for path in corpus("multipart", "*.http"):
        expected = yaml.safe_load(path.with_suffix(".yaml").read_text())
        content_type = f"multipart/form-data; boundary={expected['boundary']}"
        url, headers = f"{service.url}/predict", {"Content-Type": content_type}
        response = requests.post(url, path.read_bytes(), headers=headers, timeout=TIMEOUT_S)
        body = response.json()
        first = body if "error" in body else next(iter(body.values()))
        assert code_of(first) in OF_THE_DESIGN[response.status_code], path.name
        if "error" in expected["expected"]:
            assert response.status_code == 400, path.name
