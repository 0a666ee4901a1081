"""`/openapi.json` against the running service, by schemathesis: what it says is what happens."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
import schemathesis
from PIL import Image

from testing.pictures import encode
from testing.service import Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "allow_header_conformance"
)

CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", "503", "504"]
"""  # a deadline of a millisecond is over at once


def test_the_service_does_as_its_description_says(service: Service, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [f"{service.url}/openapi.json", "--checks", CHECKS, "--max-examples", "10"]
    command += ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("status", [200, 413, 415, 422])
def test_what_is_said_of_one_image_and_of_several_alike_is_described(
    service: Service, pictures: list[Image.Image], status: int, copies: int
) -> None:
    png = encode(pictures[0])
    data = {200: png, 413: bytes(11 * 2**20), 415: b"no image", 422: png[: len(png) // 2]}[status]
    files = [("file", (f"{index}.png", data)) for index in range(copies)]
    response = requests.post(f"{service.url}/predict", files=files, timeout=60)
    assert response.status_code == status
    described = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    described["/predict"]["POST"].validate_response(response)
