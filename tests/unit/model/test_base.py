"""The model against torchvision's own network, and the checkpoints it refuses."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import densenet121

from deployments.common.errors import StartupError
from deployments.common.settings import Engine, Precision
from deployments.ingress.images.preprocess import preprocess as decode_pixels
from deployments.model.base import load_model
from deployments.model.checkpoint import read_checkpoint
from deployments.model.spec import SPEC
from deployments.model.weights import Weights, resolve
from testing.pictures import encode, make_picture
from testing.reference import classify, load_reference, make_checkpoint, preprocess
from testing.reference_stand_in import classify_by_stand_in

PICTURES = [make_picture(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test.pth"
    make_checkpoint(PICTURES, path)
    return path


def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([decode_pixels(encode(picture), 10**6) for picture in PICTURES])


ENGINES = [("torch", "fp32"), ("torch", "fp16"), ("openvino", "fp32"), ("openvino", "bf16")]


@pytest.fixture(autouse=True, scope="module")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A private cache, empty at first."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(home))
        yield home


def weights_at(path: Path) -> Weights:
    return resolve(str(path))


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_every_engine_answers_as_torchvision_does(
    checkpoint: Path, engine: Engine, precision: Precision
) -> None:
    model = load_model(weights_at(checkpoint), "cpu", engine, precision)
    expected = classify(load_reference(checkpoint), PICTURES).numpy()
    images = pixels()
    rows = np.concatenate([model.predict(images[:1]), model.predict(images[1:])])
    assert rows.shape == (6, 1000)
    assert rows.dtype == np.float32
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-2)
    assert rows.argmax(axis=1).tolist() == list(range(6))
    # What the settings promise by default is 0.02; bf16 is a choice that costs more.
    assert np.abs(rows - expected).max() < (0.03 if precision == "bf16" else 0.02)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_normalised_images_are_not_rounded_to_pixels(checkpoint: Path, engine: Engine) -> None:
    model = load_model(weights_at(checkpoint), "cpu", engine, "fp32")
    expected = classify(load_reference(checkpoint), PICTURES).numpy()
    assert np.abs(model.predict(preprocess(PICTURES).numpy()) - expected).max() < 1e-4


STAND_IN = Weights("stand_in", SPEC.stand_in.version)


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_every_engine_runs_the_stand_in_as_its_makers_do(
    engine: Engine, precision: Precision
) -> None:
    images = pixels()
    expected = classify_by_stand_in(images)
    rows = load_model(STAND_IN, "cpu", engine, precision).predict(images)
    assert rows.shape == (6, 1000)
    tolerance = 1e-4 if precision == "fp32" else 0.05
    assert np.abs(rows - expected).max() < tolerance


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_stand_in_takes_what_is_normalised_for_the_model(engine: Engine) -> None:
    images = pixels()
    normalised = ((images / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)).astype(np.float32)
    values = np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
    rows = load_model(STAND_IN, "cpu", engine, "fp32").predict(values)
    assert np.abs(rows - classify_by_stand_in(images)).max() < 1e-4


def test_the_cache_tells_the_graphs_of_the_networks_apart(checkpoint: Path) -> None:
    images = pixels()
    model = load_model(weights_at(checkpoint), "cpu", "openvino", "fp32")
    stand_in = load_model(STAND_IN, "cpu", "openvino", "fp32")
    assert np.abs(model.predict(images) - stand_in.predict(images)).max() > 0.5


def test_todays_key_names_are_read_too(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(load_reference(checkpoint).state_dict(), tmp_path / "new.pth")
    old, new = (read_checkpoint(path) for path in (checkpoint, tmp_path / "new.pth"))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_a_converted_graph_is_kept_whole_and_may_be_lost(
    checkpoint: Path, cache_home: Path
) -> None:
    images = pixels()
    first = load_model(weights_at(checkpoint), "cpu", "openvino", "fp32").predict(images)
    kept = list(cache_home.rglob("graph.*"))
    assert {path.suffix for path in kept} == {".xml", ".bin"} or len(kept) > 2
    again = load_model(weights_at(checkpoint), "cpu", "openvino", "fp32").predict(images)
    shutil.rmtree(cache_home / "densenet-serve")
    anew = load_model(weights_at(checkpoint), "cpu", "openvino", "fp32").predict(images)
    assert np.abs(first - again).max() < 1e-5
    assert np.abs(first - anew).max() < 1e-5
    assert not list(cache_home.rglob(".converting-*"))


def test_a_cache_that_cannot_be_written_costs_only_the_conversion(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    model = load_model(weights_at(checkpoint), "cpu", "openvino")
    assert model.predict(pixels()).argmax(axis=1).tolist() == list(range(6))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(StartupError, match="not a readable PyTorch checkpoint"):
        read_checkpoint(tmp_path / "bad.pth")


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"print": print}, tmp_path / "code.pth")
    with pytest.raises(StartupError, match="not a readable PyTorch checkpoint"):
        read_checkpoint(tmp_path / "code.pth")


def test_a_checkpoint_that_holds_no_dict_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(StartupError, match="no state dict"):
        read_checkpoint(tmp_path / "tensor.pth")


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    torch.save(densenet121(num_classes=10).state_dict(), tmp_path / "ten.pth")
    with pytest.raises(StartupError, match=r"classifier\.weight of shape \[10, 1024\]"):
        read_checkpoint(tmp_path / "ten.pth")


def test_a_missing_layer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    del state["classifier.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(StartupError, match=r"lacks classifier\.bias"):
        read_checkpoint(tmp_path / "less.pth")


def test_an_unknown_layer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pth")
    with pytest.raises(StartupError, match=r"extra\.weight"):
        read_checkpoint(tmp_path / "more.pth")
