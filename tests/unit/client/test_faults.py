"""The client against a server that refuses, drops, delays and dies."""

import itertools
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from densenet_client import (
    Classification,
    ClientError,
    Failure,
    InvalidResponse,
    Result,
    ServerUnreachable,
    Unauthorized,
)
from densenet_client.retry import choose_pause_s, parse_retry_after_s
from testing.fake_service import (
    FakeService,
    Fault,
    Handler,
    cut_short,
    delay,
    drop,
    refuse,
    refuse_before,
)
from testing.ports import find_free_port
from tests.unit.client.conftest import Connect

THIRTY = [f"image-{i}".encode() for i in range(30)]


def best_names(results: list[Result]) -> list[str]:
    assert all(isinstance(result, Classification) for result in results), results
    return [result.best.class_name for result in results if isinstance(result, Classification)]


def expected(images: list[bytes]) -> list[str]:
    return [f"{image.decode()}_1" for image in images]


@pytest.mark.parametrize(
    "fault",
    [
        drop,
        cut_short,
        refuse(429, "slow_down"),
        refuse(503, "overloaded"),
        *map(refuse_before, (500, 502, 503, 504)),
    ],
)
def test_a_request_is_repeated_when_it_was_not_answered(
    connect: Connect, fake: FakeService, fault: Fault
) -> None:
    fake.faults.extend([fault, fault])
    with connect(fake.url, concurrency=1) as client:
        results = client.classify(THIRTY[:3])
    assert best_names(results) == expected(THIRTY[:3])
    assert len(fake.seen) == 3


def test_a_request_is_repeated_after_a_time_out(connect: Connect, fake: FakeService) -> None:
    fake.faults.append(delay(5.0))
    with connect(fake.url, timeout_s=1.0) as client:
        assert best_names(client.classify(b"cat")) == ["cat_1"]
    assert len(fake.seen) == 2


def test_retry_after_is_honoured_when_the_service_is_overloaded(
    connect: Connect, fake: FakeService
) -> None:
    fake.faults.append(refuse(503, "overloaded", Retry_After="1"))
    with connect(fake.url) as client:
        assert best_names(client.classify(b"cat")) == ["cat_1"]
    first, second = fake.seen
    assert 1.0 <= second.at - first.at < 3.0


def test_an_internal_error_is_an_answer_and_not_repeated(
    connect: Connect, fake: FakeService
) -> None:
    fake.always = refuse(500, "internal")
    with connect(fake.url) as client:
        (result,) = client.classify(("cat.jpg", b"cat"))
    assert result == Failure("cat.jpg", "internal", "says internal")
    assert len(fake.seen) == 1


def test_an_image_is_a_failure_when_patience_ends(connect: Connect, fake: FakeService) -> None:
    fake.always = refuse(503, "overloaded", Retry_After="1")
    with connect(fake.url, max_retry_time_s=0.2) as client:
        (result,) = client.classify(("cat.jpg", b"cat"))
    assert result == Failure("cat.jpg", "overloaded", "says overloaded")


def test_only_its_own_images_fail_when_one_request_is_never_answered(
    connect: Connect, fake: FakeService
) -> None:
    def drop_cats(handler: Handler) -> bool:
        return handler.service.seen[-1].images["0"] != b"cat" or drop(handler)

    fake.always = drop_cats
    with connect(fake.url, concurrency=1, images_per_request=1, max_retry_time_s=0.2) as client:
        first, second = client.classify([b"cat", b"dog"])
    assert isinstance(first, Failure)
    assert first.code == "no_answer"
    assert isinstance(second, Classification)


def test_a_server_that_is_not_there_is_named_at_once(connect: Connect) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    started = time.monotonic()
    with connect(url) as client, pytest.raises(ServerUnreachable) as raised:
        client.classify(b"cat")
    assert str(raised.value) == f"nothing answers at {url}: connection refused"
    assert time.monotonic() - started < 5


def test_a_stream_ends_after_its_results_when_the_server_goes_away(
    connect: Connect, fake: FakeService
) -> None:
    fake.always = delay(0.05)
    with connect(fake.url, concurrency=1, images_per_request=2, max_retry_time_s=0.2) as client:
        stream = client.stream(THIRTY)
        received = [next(stream)]
        fake.server.server_close()
        fake.always = drop
        with pytest.raises(ServerUnreachable):
            received.extend(stream)
    assert best_names(received) == expected(THIRTY[: len(received)])
    assert len(received) < 30


def test_a_service_that_never_gets_ready_is_named(connect: Connect, fake: FakeService) -> None:
    fake.is_ready = False
    fake.always = refuse(503, "unavailable")
    with (
        connect(fake.url, max_retry_time_s=0.2) as client,
        pytest.raises(ServerUnreachable) as raised,
    ):
        client.classify(b"cat")
    assert "has not been ready" in str(raised.value)


def test_a_key_is_sent_as_a_bearer(connect: Connect, fake: FakeService) -> None:
    with connect(fake.url, api_key="secret") as client:
        client.classify(b"cat")
    assert fake.seen[0].headers["Authorization"] == "Bearer secret"


def test_no_password_of_netrc_is_sent(
    connect: Connect, fake: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with connect(fake.url) as client:
        client.classify(b"cat")
    assert "Authorization" not in fake.seen[0].headers


def test_a_wrong_key_ends_the_run(connect: Connect, fake: FakeService) -> None:
    fake.always = refuse(401, "unauthorized")
    with connect(fake.url) as client, pytest.raises(Unauthorized, match="says unauthorized"):
        client.classify(THIRTY)


def test_another_server_is_told_from_the_service(connect: Connect, fake: FakeService) -> None:
    fake.always = refuse(404, "not_found")
    with connect(fake.url) as client, pytest.raises(InvalidResponse, match="not densenet-serve"):
        client.classify(b"cat")


def test_a_redirect_is_not_followed_but_named(connect: Connect, fake: FakeService) -> None:
    fake.always = refuse(301, "moved", Location="https://elsewhere.example/predict")
    with connect(fake.url) as client, pytest.raises(InvalidResponse, match="elsewhere"):
        client.classify(b"cat")


def test_a_request_is_halved_when_the_server_takes_fewer_images(
    connect: Connect, fake: FakeService
) -> None:
    fake.max_images = 3
    with connect(fake.url) as client:
        assert best_names(client.classify(THIRTY)) == expected(THIRTY)


def test_a_request_is_halved_when_its_time_was_up(connect: Connect, fake: FakeService) -> None:
    fake.faults.append(refuse(504, "deadline_exceeded"))
    with connect(fake.url, concurrency=1) as client:
        assert best_names(client.classify(THIRTY[:8])) == expected(THIRTY[:8])
    assert [len(seen.images) for seen in fake.seen] == [8, 4, 4]


def test_a_lone_image_is_sent_again_when_its_time_was_up(
    connect: Connect, fake: FakeService
) -> None:
    fake.faults.append(refuse(504, "deadline_exceeded"))
    with connect(fake.url) as client:
        assert best_names(client.classify(b"cat")) == ["cat_1"]


def test_results_keep_their_order_when_the_first_request_is_the_slowest(
    connect: Connect, fake: FakeService
) -> None:
    fake.faults.append(delay(0.5))
    with connect(fake.url, images_per_request=2) as client:
        assert best_names(client.classify(THIRTY)) == expected(THIRTY)


def test_requests_go_in_parallel_but_no_more_than_allowed(
    connect: Connect, fake: FakeService
) -> None:
    fake.always = delay(0.05)
    with connect(fake.url, concurrency=3, images_per_request=1) as client:
        client.classify(THIRTY)
    assert fake.most_in_flight == 3


def test_only_a_few_images_are_taken_ahead_of_an_endless_stream(
    connect: Connect, fake: FakeService
) -> None:
    taken = itertools.count()
    images = (f"image-{next(taken)}".encode() for _ in itertools.count())
    with connect(fake.url, concurrency=2, images_per_request=4) as client:
        results = list(itertools.islice(client.stream(images), 100))
    assert best_names(results) == [f"image-{i}_1" for i in range(100)]
    assert next(taken) < 150


def test_a_bad_address_is_refused(connect: Connect) -> None:
    with pytest.raises(ClientError, match="no address"):
        connect("localhost:5000")


@pytest.mark.parametrize("top_k", [0, 1001])
def test_a_bad_top_k_is_refused(connect: Connect, fake: FakeService, top_k: int) -> None:
    with connect(fake.url) as client, pytest.raises(ValueError, match="top_k"):
        client.classify(b"cat", top_k=top_k)


def test_retry_after_is_read_in_both_forms() -> None:
    assert parse_retry_after_s("7") == 7
    assert 8 < parse_retry_after_s(formatdate(time.time() + 10, usegmt=True)) <= 10
    assert parse_retry_after_s(formatdate(time.time() - 10, usegmt=True)) == 0
    assert parse_retry_after_s("soon") == 0
    assert parse_retry_after_s(None) == 0


def test_pauses_grow_stay_bounded_and_differ() -> None:
    early, late = ([choose_pause_s(n, 3) for _ in range(50)] for n in (0, 30))
    assert min(early) > 3
    assert max(early) < 4 < 10 < min(late)
    assert max(late) <= 23
    assert len(set(early)) > 10
