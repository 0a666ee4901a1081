"""What a client can be given, and how it travels."""

import os
from pathlib import Path

from densenet_client import Classification, Failure
from testing.fake_service import FakeService
from tests.unit.client.conftest import Connect


def test_paths_bytes_and_named_bytes_may_be_mixed(
    connect: Connect, fake: FakeService, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    path = tmp_path / "cat.jpg"
    with connect(fake.url) as client:
        results = client.classify([path, str(path), b"dog", ("named", b"fox")], top_k=2)
    assert [result.name for result in results] == [str(path), str(path), "image 3", "named"]
    assert all(isinstance(r, Classification) and len(r.predictions) == 2 for r in results)


def test_one_image_may_be_given_by_itself(
    connect: Connect, fake: FakeService, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    with connect(fake.url) as client:
        for image in (str(tmp_path / "cat.jpg"), tmp_path / "cat.jpg", b"cat", ("a", b"cat")):
            assert len(client.classify(image)) == 1


def test_no_images_give_no_results(connect: Connect, fake: FakeService) -> None:
    with connect(fake.url) as client:
        assert client.classify([]) == []


def test_a_name_stays_here_whatever_it_holds(connect: Connect, fake: FakeService) -> None:
    names = ['"; filename="x', "a\r\nX-Bad: 1", "same", "same", "\udcff", "error"]
    with connect(fake.url) as client:
        results = client.classify([(name, b"cat") for name in names])
    assert [result.name for result in results] == names
    assert list(fake.seen[0].images) == ["0", "1", "2", "3", "4", "5"]


def test_a_file_that_cannot_be_read_costs_the_others_nothing(
    connect: Connect, fake: FakeService, tmp_path: Path
) -> None:
    with connect(fake.url) as client:
        missing, folder, good = client.classify([tmp_path / "no.jpg", tmp_path, b"cat"])
    assert missing == Failure(
        str(tmp_path / "no.jpg"), "unreadable_file", "No such file or directory"
    )
    assert folder == Failure(str(tmp_path), "unreadable_file", "Is a directory")
    assert isinstance(good, Classification)


def test_an_image_that_is_too_large_is_not_sent(
    connect: Connect, fake: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "huge.bmp"
    path.touch()
    os.truncate(path, 2**40)
    with connect(fake.url, max_image_bytes=1000) as client:
        results = client.classify([path, b"x" * 1001, b"x" * 1000])
    assert [getattr(result, "code", None) for result in results] == [
        "image_too_large",
        "image_too_large",
        None,
    ]
    assert [len(seen.images) for seen in fake.seen] == [1]


def test_small_images_travel_together_and_large_ones_apart(
    connect: Connect, fake: FakeService
) -> None:
    images = [*[b"small"] * 16, *[b"y" * 3 * 2**20] * 2]
    with connect(fake.url) as client:
        client.classify(images)
    assert sorted(len(seen.images) for seen in fake.seen) == [1, 1, 8, 8]


def test_a_broken_image_is_a_failure_among_results(connect: Connect, fake: FakeService) -> None:
    with connect(fake.url) as client:
        cat, broken = client.classify([("cat", b"cat"), ("broken", b"broken")])
    assert isinstance(cat, Classification)
    assert broken == Failure("broken", "undecodable_image", "the file is broken")


def test_the_status_tells_readiness_and_model_version(connect: Connect, fake: FakeService) -> None:
    with connect(fake.url) as client:
        status = client.status()
        assert (status.is_ready, status.model_version) == (True, "sha256:0123456789ab")
        fake.is_ready = False
        assert not client.status().is_ready
