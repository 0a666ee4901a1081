"""The benchmark's load generator against a small server of its own kind."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from benchmarks.load import Target, closed_loop, fetch, open_loop
from testing.encodings import KEYED, OPEN_INFERENCE, Payload

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ONE = Payload(b"x", {}, photos=(0,))
EIGHT = Payload(b"x" * 8, {}, photos=tuple(range(8)))


@asynccontextmanager
async def serving(handler: Handler, timeout_s: float = 5) -> AsyncIterator[Target]:
    app = web.Application()
    app.router.add_post("/predict", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield Target(f"http://{host}:{port}/predict", timeout_s)
    finally:
        await runner.cleanup()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def answer(_: web.Request) -> web.Response:
    await asyncio.sleep(0.02)
    return web.Response(text="{}", headers={"Server-Timing": "infer;dur=20.0"})


def answer_one_by_one() -> Handler:
    lock = asyncio.Lock()

    async def handle(request: web.Request) -> web.Response:
        async with lock:
            return await answer(request)

    return handle


def test_a_closed_loop_keeps_so_many_requests_in_flight_and_counts_their_images() -> None:
    in_flight, most = 0, 0

    async def count(request: web.Request) -> web.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await answer(request)
        finally:
            in_flight -= 1

    async def work() -> None:
        async with serving(count) as target:
            outcome = await closed_loop(target, [EIGHT], concurrency=4, duration_s=0.5)
        assert most == 4
        assert outcome.errors == {}
        assert 0 < outcome.images <= 8 * len(outcome.latencies_ms)
        assert outcome.images_per_s == outcome.images / 0.5
        assert min(outcome.latencies_ms) >= 20
        assert outcome.server_timings[0] == "infer;dur=20.0"
        assert 0 < outcome.generator_cpu_ms_per_request < 20

    run(work())


def test_an_open_loop_sends_on_though_nothing_has_come_back() -> None:
    all_here = asyncio.Barrier(50)

    async def answer_when_all_are_here(_: web.Request) -> web.Response:
        await all_here.wait()
        return web.Response()

    async def work() -> None:
        async with serving(answer_when_all_are_here) as target:
            arrivals_s = [0.001 * number for number in range(50)]
            outcome = await open_loop(target, [ONE], arrivals_s, duration_s=5)
        assert len(outcome.latencies_ms) == 50
        assert outcome.images == pytest.approx(50)
        assert outcome.errors == {}

    run(work())


def test_a_request_still_under_way_at_the_end_counts_for_the_part_before_it() -> None:
    async def answer_slowly(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    async def work() -> None:
        async with serving(answer_slowly) as target:
            outcome = await closed_loop(target, [EIGHT], concurrency=1, duration_s=0.5)
        assert len(outcome.latencies_ms) == 1
        assert outcome.images == pytest.approx(4, rel=0.2)

    run(work())


def test_a_server_that_fills_up_before_the_window_is_credited_with_no_more_than_it_does() -> None:
    async def work() -> None:
        async with serving(answer_one_by_one()) as target:
            outcome = await closed_loop(target, [ONE], 16, duration_s=0.3, margin_s=0.6)
        at_most = 1 / 0.02
        assert 0 < outcome.images_per_s < 1.1 * at_most

    run(work())


def test_latency_is_from_the_intended_time_so_a_stall_is_paid_by_all_behind_it() -> None:
    async def work() -> None:
        async with serving(answer_one_by_one()) as target:
            outcome = await open_loop(target, [ONE], [0.0] * 10, duration_s=1)
        assert max(outcome.latencies_ms) >= 10 * 20

    run(work())


def test_refusals_and_time_outs_are_infinite_and_no_images() -> None:
    async def refuse(request: web.Request) -> web.Response:
        if await request.read() == ONE.body:
            return web.Response(status=503)
        await asyncio.sleep(5)
        return web.Response()

    async def work() -> None:
        async with serving(refuse, timeout_s=1) as target:
            outcome = await open_loop(target, [ONE, EIGHT], [0.0, 0.0], duration_s=0.5)
        assert outcome.latencies_ms == [math.inf, math.inf]
        assert outcome.images == 0
        assert outcome.errors == {"status 503": 1, "TimeoutError": 1}

    run(work())


def test_a_multipart_form_brings_every_photo_whole_and_in_order() -> None:
    received: list[tuple[str, bytes]] = []

    async def keep(request: web.Request) -> web.Response:
        form = await request.post()
        files = [part for part in form.values() if isinstance(part, web.FileField)]
        received.extend((file.filename, file.file.read()) for file in files)
        return web.json_response({"00003.jpg": {"class_id": "n1"}, "00009.jpg": {"class_id": "n2"}})

    async def work() -> None:
        async with serving(keep) as target:
            photos = [(3, b"--first\r\n"), (9, b"second")]
            body = await fetch(target, KEYED.encode(photos))
        assert received == [("00003.jpg", b"--first\r\n"), ("00009.jpg", b"second")]
        assert KEYED.read(body) == ["n1", "n2"]

    run(work())


@pytest.mark.parametrize("count", [1, 8])
def test_an_open_inference_request_says_how_long_its_head_is(count: int) -> None:
    payload = OPEN_INFERENCE.encode([(number, b"photo") for number in range(count)])
    head = int(payload.headers["Inference-Header-Content-Length"])
    assert payload.body[:head].startswith(b'{"inputs"')
    assert payload.body[head:] == count * b"\x05\x00\x00\x00photo"
