"""The stub model by way of the pictures made for it, as the benchmark's peers run it."""

import numpy as np
import pytest

from benchmarks.peers.network import Network
from benchmarks.peers.stub import prepare
from deployments.ingress.images.preprocess import preprocess
from testing.photos import paint_photos
from testing.pictures import encode, make_picture
from testing.stub_model import POISON, StubModel, colour_of


def test_peers_and_pictures_agree_on_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_MODEL", "stub")
    network, photos = Network(), paint_photos()
    predictions = network.classify([network.prepare(file) for file in photos.files])
    assert tuple(prediction["class_id"] for prediction in predictions) == photos.class_ids
    assert len(set(photos.class_ids)) == len(photos.files) == 32


def test_peers_prepare_a_picture_as_the_service_does() -> None:
    file = encode(make_picture(1, 300, 256), "JPEG", quality=90)
    difference = prepare(file).astype(int) - preprocess(file, max_pixels=10**6)
    assert abs(difference).max() <= 1


def test_a_picture_of_the_poison_colour_breaks_the_model() -> None:
    poison = np.full((1, 224, 224, 3), colour_of(POISON), np.uint8)
    with pytest.raises(ValueError, match="poison"):
        StubModel(0.0).predict(poison)
