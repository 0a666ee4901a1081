"""`/openapi.json` against the running service, by schemathesis: what it says is what happens."""

import subprocess
import sys
from pathlib import Path

from tests.service import Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method"
)

CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", "503", "504"]
"""  # a deadline of a millisecond is over at once


def test_the_service_does_as_its_description_says(service: Service, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [f"{service.url}/openapi.json", "--checks", CHECKS, "--max-examples", "10"]
    command += ["--phases", "examples,coverage,fuzzing", "--no-color"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
