"""The client against the running service."""

import pytest
from PIL import Image

from densenet_client import Classification, Client, Failure
from deployments.common.labels import load_classes
from testing.pictures import encode
from testing.service import Service


def test_every_picture_gets_its_class_in_order(
    service: Service, pictures: list[Image.Image]
) -> None:
    with Client(service.url) as client:
        results = client.classify((encode(picture) for picture in pictures), top_k=5)
    assert [type(result) for result in results] == [Classification] * len(pictures)
    for result, expected in zip(results, load_classes(), strict=False):
        assert isinstance(result, Classification)
        assert result.best.class_id == expected.class_id
        assert result.best.class_name == expected.class_name
        probabilities = [prediction.probability for prediction in result.predictions]
        assert len(probabilities) == 5
        assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_image"),
        (b"no picture", "unsupported_media_type"),
        (b"\xff\xd8\xff\xe0 broken", "undecodable_image"),
        (b"\xff\xd8\xff" + bytes(11 * 2**20), "image_too_large"),
    ],
    ids=["empty", "text", "broken", "large"],
)
def test_a_bad_image_is_a_failure_alone_and_among_good_ones(
    service: Service, pictures: list[Image.Image], data: bytes, code: str
) -> None:
    good = encode(pictures[0])
    with Client(service.url) as client:
        (alone,) = client.classify(("bad", data))
        before, among, after = client.classify([good, ("bad", data), good])
    assert isinstance(alone, Failure)
    assert alone.code == code or data == b""
    assert isinstance(among, Failure)
    assert isinstance(before, Classification)
    assert isinstance(after, Classification)


def test_the_status_is_that_of_the_service(service: Service) -> None:
    with Client(service.url) as client:
        status = client.status()
    assert status.is_ready
    assert status.model_version.startswith("sha256:")
