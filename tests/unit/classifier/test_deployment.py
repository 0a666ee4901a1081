"""A call to the Classifier, without Ray: each of its requests has a result of its own."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ray import serve

from deployments.classifier.deployment import Classifier
from deployments.common.errors import DeadlineExceeded, Overloaded, QueueFull
from deployments.common.rpc_types import BatchResult, ImageBatch, ModelInfo
from deployments.model.weights import Weights

pytestmark = pytest.mark.anyio

POISON = 255


class StubModel:
    """The class of an image is its first pixel; as slow as told."""

    engine, device, precision = "stub", "cpu", "none"
    streams = 2
    max_batch_size = 4

    def __init__(self) -> None:
        self.batch_s = 0.0
        self.batch_sizes: list[int] = []

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        self.batch_sizes.append(len(images))
        time.sleep(self.batch_s)
        values = images.reshape(len(images), -1)[:, 0].astype(int)
        if (values == POISON).any():
            raise ValueError("a poisoned image")
        rows: NDArray[np.float32] = np.eye(1000, dtype=np.float32)[values]
        return rows


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def event_loop() -> AsyncIterator[None]:
    """One for all tests: `@serve.batch` keeps that of its first call, as a replica has one."""
    yield  # noqa: PT022, the loop ends with this fixture


@pytest.fixture
def model() -> StubModel:
    return StubModel()


@pytest.fixture
async def classifier(model: StubModel, monkeypatch: pytest.MonkeyPatch) -> Any:
    # `@serve.batch` asks the replica how many calls it may have; this one is none of Ray's.
    config = SimpleNamespace(max_ongoing_requests=1000)
    monkeypatch.setattr(
        serve,
        "get_replica_context",
        lambda: SimpleNamespace(_deployment_config=config, app_name="test"),
    )
    deployment: Any = Classifier
    classifier = deployment.func_or_class(Weights("file", "stub"), lambda: model)
    await classifier.reconfigure({"max_batch_size": 4})
    return classifier


def make_images(*values: int) -> NDArray[np.uint8]:
    images = np.zeros((len(values), 224, 224, 3), np.uint8)
    images[:, 0, 0, 0] = values
    return images


def classes_of(result: object) -> list[int]:
    assert isinstance(result, BatchResult)
    return [int(row.argmax()) for row in result.probabilities]


async def test_each_request_of_a_call_gets_its_own_rows(classifier: Any) -> None:
    answer = await classifier.classify(make_images(*range(10)), [1, 7, 2], [30.0] * 3)
    assert [classes_of(result) for result in answer.results] == [[0], [*range(1, 8)], [8, 9]]
    assert answer.model == await classifier.describe() == ModelInfo("stub", "stub", "cpu", "none")


async def test_a_call_says_how_many_images_fill_the_streams(classifier: Any) -> None:
    answer = await classifier.classify(make_images(1), [1], [30.0])
    assert answer.preferred_images == 8
    await classifier.reconfigure({"max_batch_size": 2})
    answer = await classifier.classify(make_images(1), [1], [30.0])
    assert answer.preferred_images == 4


async def test_an_image_the_model_fails_on_costs_the_other_requests_nothing(
    classifier: Any,
) -> None:
    answer = await classifier.classify(make_images(1, POISON, 3), [1, 1, 1], [30.0] * 3)
    assert [sorted(result.failed) for result in answer.results] == [[], [0], []]
    assert classes_of(answer.results[2]) == [3]


async def test_each_request_is_admitted_by_its_own_time(classifier: Any, model: StubModel) -> None:
    model.batch_s = 0.1
    await classifier.classify(make_images(1), [1], [30.0])  # so that it knows what an image takes
    answer = await classifier.classify(make_images(1, 2, 3), [1, 1, 1], [30.0, 0.001, 30.0])
    assert isinstance(answer.results[1], Overloaded)
    assert classes_of(answer.results[0]) == [1]
    assert classes_of(answer.results[2]) == [3]


async def test_a_full_queue_rejects_every_request_of_a_call(
    classifier: Any, model: StubModel
) -> None:
    model.batch_s = 0.1
    await classifier.classify(make_images(1), [1], [30.0])
    await classifier.reconfigure({"max_batch_size": 4, "max_queue_wait_s": 0.01})
    busy = asyncio.create_task(classifier.classify(make_images(*range(8)), [8], [30.0]))
    await asyncio.sleep(0)
    answer = await classifier.classify(make_images(1, 2), [1, 1], [30.0, 30.0])
    assert [type(result) for result in answer.results] == [QueueFull, QueueFull]
    assert classes_of((await busy).results[0]) == [*range(8)]


async def test_a_request_that_is_late_is_told_so_and_keeps_no_images(classifier: Any) -> None:
    gc.disable()
    try:
        answer = await classifier.classify(make_images(1, 2), [1, 1], [0.0, 30.0])
    finally:
        gc.enable()
    late = answer.results[0]
    assert isinstance(late, DeadlineExceeded)
    assert late.__traceback__ is None
    assert classes_of(answer.results[1]) == [2]


async def test_a_call_that_is_cancelled_leaves_nothing_in_the_queue(
    classifier: Any, model: StubModel
) -> None:
    model.batch_s = 1.0
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    images = make_images(*range(5))
    call = asyncio.create_task(classifier.classify(images, [4, 1], [30.0, 0.0]))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    assert classifier.record_autoscaling_stats() == {"images": 0}
    del call
    gc.collect()
    assert unheard == []


async def test_every_size_of_batch_is_warm_before_it_is_used(
    classifier: Any, model: StubModel
) -> None:
    assert model.batch_sizes == [1, 2, 4]
    await classifier.reconfigure({"max_batch_size": 12})
    assert model.batch_sizes[3:] == [1, 2, 4, 8, 12]
    await classifier.reconfigure({"max_batch_size": 9})
    assert len(model.batch_sizes) == 8


@pytest.mark.parametrize(
    ("user_config", "expected"),
    [({}, "max_batch_size 4 (by the engine)"), ({"max_batch_size": 2}, "2 (by the user_config)")],
)
async def test_the_log_says_what_is_in_effect(
    classifier: Any, caplog: pytest.LogCaptureFixture, user_config: dict[str, int], expected: str
) -> None:
    with caplog.at_level("INFO", "ray.serve"):
        await classifier.reconfigure(user_config)
    assert expected in caplog.text
    assert "none on cpu (stub)" in caplog.text


@pytest.mark.usefixtures("classifier")
async def test_a_replica_that_is_ready_collects_garbage(model: StubModel) -> None:
    gc.disable()
    deployment: Any = Classifier
    deployment.func_or_class(Weights("file", "stub"), lambda: model)
    assert gc.isenabled()
