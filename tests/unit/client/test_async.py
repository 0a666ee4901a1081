"""What an event loop adds: many images, other work beside it, cancellation."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from densenet_client import AsyncClient, Classification, Client
from testing.fake_service import FakeService, delay, drop, refuse
from tests.command import environment

pytestmark = pytest.mark.anyio


async def test_a_thousand_images_give_the_results_of_the_sync_client(
    fake: FakeService, tmp_path: Path
) -> None:
    images: list[Path | bytes] = [f"image-{i}".encode() for i in range(996)]
    images += [tmp_path / "missing.jpg", b"broken", tmp_path / "cat.jpg", b"dog"]
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    fake.faults.extend([drop, refuse(503, "overloaded"), refuse(504, "deadline_exceeded")] * 2)
    async with AsyncClient(fake.url) as client:
        results = await client.classify(images, top_k=3)
    assert fake.most_in_flight <= 4
    with Client(fake.url) as blocking:
        assert results == blocking.classify(images, top_k=3)
    assert len(results) == 1000
    assert sum(isinstance(result, Classification) for result in results) == 998


async def test_the_event_loop_does_other_work_while_requests_are_in_flight(
    fake: FakeService,
) -> None:
    fake.always = delay(0.5)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    other = asyncio.create_task(take_turns())
    async with AsyncClient(fake.url) as client:
        await client.classify(b"cat")
    other.cancel()
    assert turns > 5


async def test_one_client_serves_many_tasks(fake: FakeService) -> None:
    async with AsyncClient(fake.url) as client:
        each = await asyncio.gather(*(client.classify(f"{i}".encode()) for i in range(50)))
    names = [result.best.class_name for (result,) in each if isinstance(result, Classification)]
    assert names == [f"{i}_1" for i in range(50)]


async def test_a_cancelled_call_leaves_no_task_and_the_client_usable(fake: FakeService) -> None:
    fake.always = delay(0.3)
    before = asyncio.all_tasks()
    async with AsyncClient(fake.url, images_per_request=1) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.classify([b"cat"] * 100), timeout=0.1)
        assert asyncio.all_tasks() == before
        fake.always = None
        (result,) = await client.classify(b"dog")
    assert isinstance(result, Classification)


async def test_a_stream_that_is_left_sends_no_more(fake: FakeService) -> None:
    before = asyncio.all_tasks()
    async with AsyncClient(fake.url, concurrency=1, images_per_request=1) as client:
        stream = client.stream(b"cat" for _ in range(1000))
        async for _ in stream:
            break
        await stream.aclose()
        assert asyncio.all_tasks() == before
    assert len(fake.seen) < 10


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
async def test_a_proxy_of_the_environment_is_used(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, fake.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Client("http://photos.example") as blocking:
        assert blocking.status().is_ready
    async with AsyncClient("http://photos.example") as client:
        assert (await client.status()).is_ready


def test_without_aiohttp_the_rest_can_be_used_and_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["aiohttp"] = None
from densenet_client import Client
try:
    from densenet_client import AsyncClient
except ImportError as error:
    sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert "pip install 'densenet-client[async]'" in done.stderr
