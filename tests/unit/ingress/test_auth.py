"""API keys: the file, the command that makes one, and who is let in over HTTP."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from deployments.common.errors import StartupError, Unauthorized
from deployments.common.settings import Limits
from deployments.ingress import auth
from deployments.ingress.application import create_application
from deployments.ingress.auth import ApiKeys, generate_api_key
from deployments.ingress.images.pipeline import Pipeline
from testing.fake_classifier import FakeClassifier
from testing.service import ROOT
from tests.unit.ingress.test_application import JPEG, error_of

ALICE, ALICES_LINE = generate_api_key("alice")
BOB, BOBS_LINE = generate_api_key("bob")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n{ALICES_LINE}\n  {BOBS_LINE}  \n")
    return path


@pytest.fixture
def keys(file: Path, monkeypatch: pytest.MonkeyPatch) -> ApiKeys:
    """The keys of `file`, which is asked each time whether it has changed."""
    monkeypatch.setattr(auth, "CHECK_PERIOD_S", 0.0)
    return ApiKeys(file)


def test_a_key_tells_whose_it_is(keys: ApiKeys) -> None:
    assert (keys.authenticate(ALICE), keys.authenticate(BOB)) == ("alice", "bob")


# Numbered: a key is another one in each process, and so would be the name of its test.
@pytest.mark.parametrize(
    "key", ["", "x", ALICE[:-1], ALICE + " ", ALICES_LINE.split(": ")[1], "é"], ids=range(6)
)
def test_another_key_is_refused(keys: ApiKeys, key: str) -> None:
    with pytest.raises(Unauthorized):
        keys.authenticate(key)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("alice", 1),
        (f"\n# a comment\n{'a' * 64}", 3),
        ("alice: secret", 1),
        (f"{ALICES_LINE}0", 1),
        (f"{ALICES_LINE}\na b: {'0' * 64}", 2),
        (f": {'0' * 64}", 1),
        (f"{ALICES_LINE}\nbob: {ALICES_LINE.split(': ')[1]}", 2),
    ],
    ids=range(7),
)
def test_a_bad_line_is_named_at_the_start(file: Path, text: str, number: int) -> None:
    file.write_text(text)
    with pytest.raises(StartupError, match=f"line {number} of"):
        ApiKeys(file)


def test_a_file_that_is_not_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        ApiKeys(tmp_path / "keys")


def test_a_changed_file_is_read_again(keys: ApiKeys, file: Path) -> None:
    file.write_text(BOBS_LINE)
    assert keys.authenticate(BOB) == "bob"
    with pytest.raises(Unauthorized):
        keys.authenticate(ALICE)


def test_a_replaced_file_of_the_same_size_and_time_is_read_again(keys: ApiKeys, file: Path) -> None:
    before = file.stat()
    other, line = generate_api_key("carol")
    replacement = file.with_name("new")
    replacement.write_text(line.ljust(before.st_size, "\n"))
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.replace(file)
    assert keys.authenticate(other) == "carol"


@pytest.mark.parametrize("text", ["nonsense", None])
def test_a_file_that_goes_bad_leaves_the_last_good_keys(
    keys: ApiKeys, file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert keys.authenticate(ALICE) == "alice"
    assert "the API keys stay as they were" in caplog.text
    file.write_text(BOBS_LINE)
    with pytest.raises(Unauthorized):
        keys.authenticate(ALICE)


def test_the_command_shows_a_key_once_and_prints_its_line() -> None:
    command = [sys.executable, "-W", "error", "-m", "deployments.ingress.auth", "dave"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    key = ended.stderr.split()[-1]
    assert ended.stdout == f"dave: {hashlib.sha256(key.encode()).hexdigest()}\n"
    assert len(key) >= 43


def test_the_command_refuses_a_name_that_would_break_the_file() -> None:
    command = [sys.executable, "-m", "deployments.ingress.auth", "dave: x"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2


Counted = list[tuple[str, str]]


def make_api(keys: ApiKeys | None, counted: Counted) -> Starlette:
    return create_application(
        Pipeline(FakeClassifier(), Limits()),
        keys,
        on_request_end=lambda record: counted.append((record.client, record.status)),
    )


async def ask(
    api: Starlette,
    path: str = "/predict",
    method: str = "POST",
    root_path: str = "",
    **headers: str,
) -> httpx.Response:
    transport = httpx.ASGITransport(api, root_path=root_path)
    sent = {"Content-Type": "image/jpeg"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport) as client:
        url = f"http://test{path}"  # whole, or `//predict` would be a host
        return await client.request(method, url, content=JPEG, headers=sent)


@pytest.mark.anyio
async def test_who_has_a_key_is_let_in_and_named(
    keys: ApiKeys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    counted: Counted = []
    api = make_api(keys, counted)
    ways = [
        {"Authorization": f"Bearer {ALICE}"},
        {"Authorization": f"bearer  {ALICE}"},
        {"X-API-Key": ALICE},
        {"X-API-Key": ALICE, "Authorization": "Basic YTpi"},
    ]
    for headers in ways:
        assert (await ask(api, **headers)).status_code == 200, headers
    assert counted == [("alice", "200")] * len(ways)
    lines = [vars(record) for record in caplog.records if record.name == "ray.serve"]
    assert [line["client"] for line in lines] == ["alice"] * len(ways)
    assert ALICE not in json.dumps([vars(record) for record in caplog.records], default=str)


CLOSED_PATHS = [
    "/predict",
    "/run_inference",
    "/v2",
    "/v2/models/densenet121/infer",
    "/v2/health",
    "/nowhere",
    "//predict",
    "/predict/",
    "//",
    "/healthz/",
    "//healthz",
    "/healthz/../predict",
    "/healthz%2f..%2fpredict",
    "/static",
    "/staticpredict",
    "/DOCS",
    "/predict?/healthz",
    "/predict#/healthz",
]


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {BOB}x"}, {"X-API-Key": "x"}])
async def test_who_has_no_key_is_refused_everywhere_alike(
    keys: ApiKeys, headers: dict[str, str]
) -> None:
    counted: Counted = []
    api = make_api(keys, counted)
    for path in CLOSED_PATHS:
        response = await ask(api, path, **headers)
        assert response.status_code == 401, path
        assert response.headers["WWW-Authenticate"] == "Bearer"
        if not path.startswith("/v2"):
            assert error_of(response) == (401, "unauthorized")
    assert counted == [("", "401")] * len(CLOSED_PATHS)


@pytest.mark.anyio
async def test_neither_the_host_nor_a_prefix_opens_what_is_closed(keys: ApiKeys) -> None:
    api = make_api(keys, [])
    assert (await ask(api, Host="test/healthz?")).status_code == 401
    assert (await ask(api, "/static/predict", root_path="/static")).status_code == 401


@pytest.mark.anyio
async def test_what_is_for_everybody_stays_open(keys: ApiKeys) -> None:
    api = make_api(keys, [])
    paths = ["/", "/static/page.js", "/docs", "/openapi.json", "/docs/assets/favicon.png"]
    paths += ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"]
    for path in paths:
        assert (await ask(api, path, "GET")).status_code == 200, path
        assert (await ask(api, "/prefix" + path, "GET", "/prefix")).status_code == 200, path


@pytest.mark.anyio
async def test_the_description_names_both_ways_to_send_a_key(keys: ApiKeys) -> None:
    described = (await ask(make_api(keys, []), "/openapi.json", "GET")).json()
    schemes = described["components"]["securitySchemes"].values()
    assert {(each["type"], each.get("scheme"), each.get("name")) for each in schemes} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    for path in ("/predict", "/run_inference"):
        operation = described["paths"][path]["post"]
        assert len(operation["security"]) == 2
        assert "401" in operation["responses"]
    without = (await ask(make_api(None, []), "/openapi.json", "GET")).json()
    assert "securitySchemes" not in without["components"]
