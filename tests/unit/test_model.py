"""The model against torchvision's own network, and the checkpoints it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import densenet121

from deployments.errors import StartError
from deployments.imaging import decode
from deployments.model import load_model
from tests.pictures import encode, make_picture
from tests.reference import classify, load_reference, make_checkpoint, preprocess

PICTURES = [make_picture(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test.pth"
    make_checkpoint(PICTURES, path)
    return path


def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([decode(encode(picture), 10**6) for picture in PICTURES])


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_probabilities_are_those_of_torchvision(checkpoint: Path, batch_size: int) -> None:
    model = load_model(checkpoint, "cpu", "fp32")
    expected = classify(load_reference(checkpoint), PICTURES).numpy()
    images = pixels()
    rows = np.concatenate(
        [model.predict(images[i : i + batch_size]) for i in range(0, 6, batch_size)]
    )
    assert rows.shape == (6, 1000)
    assert rows.dtype == np.float32
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert rows.argmax(axis=1).tolist() == list(range(6))
    assert np.abs(rows - expected).max() < 0.005


def test_untrained_weights_are_the_same_every_time() -> None:
    images = pixels()[:1]
    first, second = (load_model(None, "cpu").predict(images) for _ in range(2))
    assert (first == second).all()


def test_todays_key_names_are_read_too(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(load_reference(checkpoint).state_dict(), tmp_path / "new.pth")
    old, new = (load_model(path, "cpu") for path in (checkpoint, tmp_path / "new.pth"))
    images = pixels()
    assert (old.predict(images) == new.predict(images)).all()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(StartError, match="not a readable PyTorch checkpoint"):
        load_model(tmp_path / "bad.pth", "cpu")


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"print": print}, tmp_path / "code.pth")
    with pytest.raises(StartError, match="not a readable PyTorch checkpoint"):
        load_model(tmp_path / "code.pth", "cpu")


def test_a_checkpoint_that_holds_no_dict_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(StartError, match="no state dict"):
        load_model(tmp_path / "tensor.pth", "cpu")


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    torch.save(densenet121(num_classes=10).state_dict(), tmp_path / "ten.pth")
    with pytest.raises(StartError, match=r"classifier\.weight of shape \[10, 1024\]"):
        load_model(tmp_path / "ten.pth", "cpu")


def test_a_missing_layer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    del state["classifier.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(StartError, match=r"lacks classifier\.bias"):
        load_model(tmp_path / "less.pth", "cpu")


def test_an_unknown_layer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pth")
    with pytest.raises(StartError, match=r"extra\.weight"):
        load_model(tmp_path / "more.pth", "cpu")


def test_normalised_images_are_predicted_as_their_pixels_are(checkpoint: Path) -> None:
    model = load_model(checkpoint, "cpu", "fp32")
    rows = model.predict(preprocess(PICTURES).numpy())
    expected = classify(load_reference(checkpoint), PICTURES).numpy()
    assert np.abs(rows - expected).max() < 1e-4
