"""Two versions side by side: config/canary.yaml, and a share of the requests by a real Caddy."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests
import yaml
from PIL import Image

from testing.fronts import running_caddy
from testing.pictures import encode
from testing.ports import find_free_port
from testing.reference import make_checkpoint
from testing.service import ROOT, Service, running

NUM_PICTURES = 8
PICTURE = 2
NUM_REQUESTS = 200
CANDIDATES = range(1, 30)
"""Of 200 requests; a share of 13 in 256 leaves it once in 30,000 runs."""


@pytest.fixture(scope="module")
def config(pictures: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config/canary.yaml with two checkpoints that name the pictures in opposite orders."""
    folder = tmp_path_factory.mktemp("canary")
    document = yaml.safe_load((ROOT / "config/canary.yaml").read_text())
    document["http_options"]["port"] = find_free_port()
    document["grpc_options"]["port"] = find_free_port()
    for application, step in zip(document["applications"], (1, -1), strict=True):
        application["args"]["weights"] = str(folder / f"{application['name']}.pth")
        application["args"]["engine"] = "torch"  # which has nothing to convert at a first start
        make_checkpoint(pictures[:NUM_PICTURES][::step], Path(application["args"]["weights"]))
        application["logging_config"]["logs_dir"] = str(folder / "logs")
    path = folder / "canary.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def service(config: Path) -> Iterator[Service]:
    with running(config) as service:
        yield service


@pytest.fixture(scope="module")
def image(pictures: list[Image.Image]) -> bytes:
    return encode(pictures[PICTURE])


def classify(url: str, image: bytes) -> tuple[str, str]:
    """The version that answered, and the class."""
    response = requests.post(f"{url}/run_inference", image, timeout=30, verify=False)  # noqa: S501
    assert response.ok, response.text
    return response.headers["X-Model-Version"], response.json()["class_name"]


@pytest.fixture(scope="module")
def current(service: Service, image: bytes) -> tuple[str, str]:
    return classify(service.url, image)


@pytest.fixture(scope="module")
def candidate(service: Service, image: bytes) -> tuple[str, str]:
    return classify(f"{service.url}/candidate", image)


def test_each_version_answers_under_its_prefix_as_soon_as_the_service_is_ready(
    current: tuple[str, str], candidate: tuple[str, str]
) -> None:
    assert current[0] != candidate[0]
    assert current[1] != candidate[1]


def test_the_terminal_names_address_and_version_of_each_application(
    service: Service, current: tuple[str, str], candidate: tuple[str, str]
) -> None:
    assert f"  densenet   {service.url}, {current[0]}, fp32 on cpu (torch)\n" in service.output
    row = f"  candidate  {service.url}/candidate, {candidate[0]}, fp32 on cpu (torch)\n"
    assert row in service.output


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static/page.js",
        "/docs",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/v2/models/densenet121",
    ],
)
def test_the_candidate_has_every_route(
    path: str, service: Service, candidate: tuple[str, str]
) -> None:
    response = requests.get(f"{service.url}/candidate{path}", timeout=30)
    assert (response.status_code, response.headers["X-Model-Version"]) == (200, candidate[0])


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_caddy_sends_the_candidate_one_request_in_twenty(
    service: Service,
    image: bytes,
    current: tuple[str, str],
    candidate: tuple[str, str],
    tmp_path: Path,
) -> None:
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not installed")
    with (
        running_caddy(service.port, tmp_path, "Caddyfile.canary") as url,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = Counter(pool.map(partial(classify, url), [image] * NUM_REQUESTS))
    assert answers.keys() == {current, candidate}
    assert answers[candidate] in CANDIDATES


def test_the_metrics_tell_the_versions_apart(service: Service, candidate: tuple[str, str]) -> None:
    give_up = time.monotonic() + 30  # a replica exports its metrics every 10 s
    while not (lines := find_model_info(service, "candidate")):
        assert time.monotonic() < give_up
        time.sleep(0.5)
    assert [candidate[0] in line for line in lines] == [True]


def find_model_info(service: Service, application: str) -> list[str]:
    lines = service.read_metrics().splitlines()
    info = [line for line in lines if line.startswith("ray_densenet_model_info{")]
    return [line for line in info if f'application="{application}"' in line]
