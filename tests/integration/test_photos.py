"""A machine without internet: the stand-in answers, rightly, and every door says that it does.

Photographs named by their class lie beside the repository; the tests that read them skip
without.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from playwright.sync_api import Browser, Page, expect

from densenet_client import Classification, Client
from deployments.common.labels import load_classes
from testing.pictures import list_photos
from testing.ports import find_free_port
from testing.service import NOWHERE, ROOT, Service, running, write_config
from tests.integration.test_readme import CURLS

VERSION = "stand-in-efficientnet-lite0"
LEAST_TOP_1 = 0.87
LEAST_TOP_5 = 0.95
SEED_CLASSES = {"n02099712", "n02109961", "n02124075", "n02123394", "n02356798"}
"""What the servers that this one replaces were shown; the stand-in takes the Eskimo dog
(n02109961) for a Siberian husky."""

Answers = dict[str, list[str]]
"""By file name: the ids of the five best classes, best first."""

PHOTOS = list_photos()
needs_photos = pytest.mark.skipif(not PHOTOS, reason="there are no photographs at ../shared")
CLASS_IDS = [each.class_id for each in load_classes()]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with empty caches and no way to the official weights."""
    folder = tmp_path_factory.mktemp("stand-in")
    config = write_config(folder, find_free_port())
    caches = {"TORCH_HOME": str(folder / "torch"), "XDG_CACHE_HOME": str(folder / "cache")}
    with running(config, **caches) as service:
        yield service


def by_predict(service: Service) -> Answers:
    found: Answers = {}
    for part in split(PHOTOS):
        files = [("file", (path.name, path.read_bytes())) for path in part]
        response = requests.post(f"{service.url}/predict?top_k=5", files=files, timeout=120)
        assert response.headers["X-Model-Version"] == VERSION
        found |= {name: best_of(answer) for name, answer in response.json().items()}
    return found


def by_run_inference(service: Service) -> Answers:
    def ask(path: Path) -> list[str]:
        url = f"{service.url}/run_inference?top_k=5"
        response = requests.post(url, files={"file": path.read_bytes()}, timeout=120)
        assert response.headers["X-Model-Version"] == VERSION
        return best_of(response.json())

    return {path.name: ask(path) for path in PHOTOS}


def by_v2_http(service: Service) -> Answers:
    with tritonclient.http.InferenceServerClient(f"localhost:{service.port}") as client:
        return ask_v2(tritonclient.http, client)


def by_v2_grpc(service: Service) -> Answers:
    with tritonclient.grpc.InferenceServerClient(f"localhost:{service.grpc_port}") as client:
        return ask_v2(tritonclient.grpc, client)


def ask_v2(module: Any, client: Any) -> Answers:
    found: Answers = {}
    for part in split(PHOTOS):
        files = np.array([path.read_bytes() for path in part], dtype=object)
        tensor = module.InferInput("image", files.shape, "BYTES").set_data_from_numpy(files)
        wanted = module.InferRequestedOutput("probabilities", class_count=5)
        rows = client.infer("densenet121", [tensor], outputs=[wanted]).as_numpy("probabilities")
        for path, row in zip(part, rows, strict=True):
            found[path.name] = [CLASS_IDS[int(each.split(b":")[1])] for each in row]
    return found


def by_the_python_client(service: Service) -> Answers:
    found: Answers = {}
    with Client(service.url) as client:
        for path, result in zip(PHOTOS, client.classify(PHOTOS, top_k=5), strict=True):
            assert isinstance(result, Classification)
            found[path.name] = [each.class_id for each in result.predictions]
    return found


def split(paths: Sequence[Path]) -> list[Sequence[Path]]:
    return [paths[start : start + 32] for start in range(0, len(paths), 32)]


def best_of(answer: dict[str, Any]) -> list[str]:
    best = [each["class_id"] for each in answer["predictions"]]
    assert answer["class_id"] == best[0]
    return best


def check(answers: Answers) -> None:
    """The share of photographs whose class comes first, or among five; and the seed classes."""
    truth = {path.name: path.name.partition("_")[0] for path in PHOTOS}
    assert answers.keys() == truth.keys()
    right = {truth[name] for name, best in answers.items() if best[0] == truth[name]}
    top_1 = np.mean([best[0] == truth[name] for name, best in answers.items()])
    top_5 = np.mean([truth[name] in best for name, best in answers.items()])
    print(f"top-1 {top_1:.4f}, top-5 {top_5:.4f}, seed classes {len(SEED_CLASSES & right)}")
    assert top_1 >= LEAST_TOP_1
    assert top_5 >= LEAST_TOP_5
    assert len(SEED_CLASSES & right) >= 4


@needs_photos
@pytest.mark.parametrize(
    "ask", [by_predict, by_run_inference, by_v2_http, by_v2_grpc, by_the_python_client]
)
def test_photographs_get_their_classes(
    stand_in: Service, ask: Callable[[Service], Answers]
) -> None:
    check(ask(stand_in))


@needs_photos
def test_photographs_dropped_onto_the_page_get_their_classes(
    stand_in: Service, browser: Browser
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(stand_in.url)
        page.get_by_label("Choose photos").set_input_files(PHOTOS)
        done = f"{len(PHOTOS)} of {len(PHOTOS)} classified"
        expect(page.locator("#progress-text")).to_have_text(done, timeout=120_000)
        answers = read_cards(page)
        banner = page.get_by_role("alert").filter(has_text="EfficientNet-Lite0")
        expect(banner).to_be_visible()
    check(answers)


def read_cards(page: Page) -> Answers:
    """What the page shows: on each card the file's name and its classes, best first."""
    cards = page.locator("#cards > li").evaluate_all(
        "cards => cards.map(card => [card.querySelector('.name').textContent, "
        "[...card.querySelectorAll('.class-id')].map(each => each.textContent)])"
    )
    return dict(cards)


@needs_photos
def test_the_first_command_of_the_readme_gives_the_output_shown(
    stand_in: Service, tmp_path: Path
) -> None:
    """With a photograph of the cat that it shows."""
    command, shown = CURLS[0]
    class_id = json.loads(shown)["cat.jpg"]["class_id"]
    (photo,) = (path for path in PHOTOS if path.name.startswith(class_id))
    shutil.copy(photo, tmp_path / "cat.jpg")
    here = command.replace("localhost:5000", f"localhost:{stand_in.port}")
    ran = subprocess.run(
        ["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == shown


@needs_photos
def test_the_command_says_in_one_line_that_a_stand_in_answers(stand_in: Service) -> None:
    command = [sys.executable, "-m", "densenet_client", str(PHOTOS[0]), "--url", stand_in.url]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr.count("\n") == 1
    assert VERSION in ran.stderr


def test_the_launcher_warns_directly_before_it_is_ready(stand_in: Service) -> None:
    before, _, _ = stand_in.output.partition("Ready: ")
    *_, warning, reason, command, place = before.splitlines()
    assert warning.startswith("WARNING: EfficientNet-Lite0 stands in for DenseNet-121")
    assert "curl -O https://download.pytorch.org/models/densenet121-a639ec97.pth" in command
    assert str(stand_in.config.parent / "torch" / "hub" / "checkpoints") in place
    assert reason == f"  Reason: {NOWHERE}: no connection"


@pytest.mark.parametrize("path", ["", "/config"])
def test_the_description_of_the_model_names_the_stand_in(stand_in: Service, path: str) -> None:
    described = requests.get(f"{stand_in.url}/v2/models/densenet121{path}", timeout=30).json()
    weights = described["parameters"]["weights"] if path else described["properties"]["weights"]
    assert weights in (VERSION, {"string_value": VERSION})


def test_the_metrics_name_the_stand_in(stand_in: Service) -> None:
    sought = f'weights="{VERSION}"'
    give_up = time.monotonic() + 30
    while not any(sought in line for line in model_info(stand_in)):
        assert time.monotonic() < give_up, model_info(stand_in)
        time.sleep(0.5)


def model_info(service: Service) -> list[str]:
    lines = service.read_metrics().splitlines()
    return [line for line in lines if line.startswith("ray_densenet_model_info{")]
