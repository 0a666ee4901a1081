"""What becomes of a request's images before any Classifier is asked."""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from typing import cast

import pytest

from deployments.common.errors import ImageError, UndecodableImage
from deployments.common.settings import Limits
from deployments.ingress.context import RequestContext
from deployments.ingress.images.multipart import Upload
from deployments.ingress.images.pipeline import ClassifierClient, Pipeline


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("hint", ["", "; was it changed?"])
def test_a_broken_image_is_told_with_the_hint_of_its_upload(hint: str) -> None:
    pipeline = Pipeline(cast("ClassifierClient", None), Limits())
    upload = Upload("a", b"\xff\xd8\xff and no more", hint)
    results = asyncio.run(pipeline.run([upload], time.monotonic() + 30, RequestContext()))
    error = results["a"]
    assert isinstance(error, UndecodableImage)
    assert error.message == f"the JPEG file is broken or incomplete{hint}"


@pytest.mark.usefixtures("no_garbage_collector")
def test_an_image_that_is_refused_is_not_kept_by_its_error() -> None:
    pipeline = Pipeline(cast("ClassifierClient", None), Limits())
    data = b"\x89PNG\r\n\x1a\n" + bytes(1000)
    references = sys.getrefcount(data)
    results = asyncio.run(
        pipeline.run([Upload("a", data)], time.monotonic() + 30, RequestContext())
    )
    assert isinstance(results["a"], ImageError)
    give_up = time.monotonic() + 5
    while sys.getrefcount(data) > references and time.monotonic() < give_up:
        time.sleep(0.01)  # the thread that decoded lets go of it in a moment
    assert sys.getrefcount(data) == references
