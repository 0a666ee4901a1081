"""A client that repeats what was not answered, and what became of each of its images.

Requests leave at given times whatever comes back (an open loop), and each answer is checked.
"""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from deployments.common.labels import load_classes
from testing.encodings import Payload

PATIENCE_S = 60.0
ATTEMPT_WITHIN_S = 40.0
LONGEST_PAUSE_S = 2.0
_CLASS_IDS = {each.class_id for each in load_classes()}


@dataclass(frozen=True)
class LabelledRequest:
    """A request, and for each of its images the class id or the error code that is right."""

    payload: Payload
    expected: tuple[str, ...]


@dataclass
class Result:
    """What became of one request, in images; times in seconds of `time.monotonic`.

    failures: what came instead of an answer, attempt by attempt.
    lost: images without an answer, or with an error that is not theirs.
    lost_at_once: the same of a client that does not repeat.
    """

    intended: float
    images: int
    done: float = 0.0
    failures: list[str] = field(default_factory=list)
    lost: int = 0
    wrong: int = 0
    lost_at_once: int = 0

    @property
    def latency_ms(self) -> float:
        return 1000 * (self.done - self.intended)


@dataclass
class Tally:
    """What a run of the client saw."""

    results: list[Result] = field(default_factory=list)

    def between(self, start: float, end: float) -> "Tally":
        """Of the requests that were to leave then."""
        return Tally([each for each in self.results if start <= each.intended < end])

    @property
    def images(self) -> int:
        return sum(each.images for each in self.results)

    @property
    def lost(self) -> int:
        return sum(each.lost for each in self.results)

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in self.results)

    @property
    def lost_at_once(self) -> int:
        return sum(each.lost_at_once for each in self.results)

    @property
    def repeats(self) -> int:
        return sum(len(each.failures) for each in self.results)

    @property
    def failures(self) -> Counter[str]:
        return Counter(itertools.chain.from_iterable(each.failures for each in self.results))

    @property
    def latencies_ms(self) -> list[float]:
        return [each.latency_ms for each in self.results]


class Client:
    """Asks the service at `url`; `tally` grows while it does.

    A request that has no good answer after `patience_s` seconds is lost.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self.tally = Tally()
        self._url = f"{url}/predict"
        self._random = random.Random(1)

    async def send(self, to_send: Sequence[LabelledRequest], arrivals_s: Sequence[float]) -> None:
        """Send a request at each of the times, seconds from now, and wait for every answer."""
        queue = itertools.cycle(to_send)
        start = time.monotonic()
        async with self._session() as session, asyncio.TaskGroup() as requests:
            for arrival_s in arrivals_s:
                await asyncio.sleep(start + arrival_s - time.monotonic())
                requests.create_task(self._ask(session, next(queue), start + arrival_s))

    async def measure_rate(
        self, to_send: Sequence[LabelledRequest], concurrency: int, duration_s: float
    ) -> float:
        """Requests a second in a closed loop; not in the tally."""
        queue = itertools.cycle(to_send)
        end = time.monotonic() + duration_s
        answered = 0

        async def worker() -> None:
            nonlocal answered
            while time.monotonic() < end:
                await self._attempt(session, next(queue))
                answered += 1

        async with self._session() as session:
            await asyncio.gather(*(worker() for _ in range(concurrency)))
        return answered / duration_s

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_WITHIN_S)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def _ask(
        self, session: aiohttp.ClientSession, request: LabelledRequest, intended: float
    ) -> None:
        result = Result(intended, len(request.expected))
        self.tally.results.append(result)
        while True:
            answers, failure, again_s = await self._attempt(session, request)
            _judge(result, request, answers)
            if not result.failures:
                result.lost_at_once = result.lost
            if failure:
                result.failures.append(failure)
            result.done = time.monotonic()
            if again_s is None or result.done + again_s > intended + self._patience_s:
                return
            pause_s = min(again_s * 2 ** (len(result.failures) - 1), LONGEST_PAUSE_S)
            await asyncio.sleep(self._random.uniform(pause_s / 2, pause_s))

    async def _attempt(
        self, session: aiohttp.ClientSession, request: LabelledRequest
    ) -> tuple[list[str], str, float | None]:
        """The answers, or what came instead and in how many seconds to ask again (or not)."""
        payload = request.payload
        try:
            async with session.post(
                self._url, data=payload.body, headers=payload.headers
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return [], type(error).__name__, 0.1
        answers = json.loads(body)
        if response.status == 200 or set(answers) != {"error"}:
            return [_of_image(each) for each in answers.values()], "", None
        code = answers["error"]["code"]
        if len(request.expected) == 1 and code in request.expected:
            return [code], "", None
        retry_after = response.headers.get("Retry-After")
        again_s = float(retry_after) if response.status == 503 and retry_after else None
        return [], f"{response.status} {code}", again_s


def _of_image(answer: dict[str, dict[str, str]] | dict[str, str]) -> str:
    error = answer.get("error")
    return error["code"] if isinstance(error, dict) else str(answer["class_id"])


def _judge(result: Result, request: LabelledRequest, answers: list[str]) -> None:
    """An error where a class is right is a loss; another class is a wrong answer."""
    if not answers:
        result.lost = result.images
        return
    pairs = list(zip(answers, request.expected, strict=True))
    differ = [given for given, expected in pairs if given != expected]
    result.wrong = sum(given in _CLASS_IDS for given in differ)
    result.lost = len(differ) - result.wrong
