"""The network as a model of the Open Inference Protocol: its metadata, inputs and outputs.

What a request means, whichever transport it came by. Knows nothing of HTTP or gRPC.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar

import numpy as np

from deployments.common.errors import (
    MalformedRequest,
    NoImage,
    NotFound,
    TooManyImages,
    Unavailable,
    UndecodableImage,
)
from deployments.common.rpc_types import ImageBatch
from deployments.ingress.context import RequestContext
from deployments.ingress.images.multipart import Upload
from deployments.ingress.images.pipeline import Pipeline, Result, deadline_scope
from deployments.ingress.v2.outputs import OUTPUTS, check_outputs, encode_output, stack
from deployments.ingress.v2.tensors import ANY, RequestedOutput, Tensor, TensorSpec, list_names
from deployments.model.spec import SPEC

Arguments = ParamSpec("Arguments")
Translated = TypeVar("Translated")

SERVER_NAME = "densenet-serve"
SERVER_VERSION = "1"
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "parameters"]
MODEL_NAME = SPEC.name
MODEL_VERSION = "1"
PLATFORM = "pytorch_state_dict"

IMAGE = TensorSpec("image", "BYTES", (ANY,))
PIXELS = TensorSpec("pixels", "UINT8", (ANY, SPEC.input_px, SPEC.input_px, 3))
INPUT = TensorSpec("input", "FP32", (ANY, 3, SPEC.input_px, SPEC.input_px))
INPUTS = {spec.name: spec for spec in (IMAGE, PIXELS, INPUT)}


class InferenceModel:
    """The one model that is served, as both transports see it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.limits = pipeline.limits
        self._pipeline = pipeline

    @property
    def weights(self) -> str:
        """Which weights are served, as `X-Model-Version` says it."""
        return self._pipeline.model_version

    @property
    def served(self) -> dict[str, str]:
        """The weights, and the engine, device and precision in effect."""
        return asdict(self._pipeline.model)

    @property
    def is_ready(self) -> bool:
        return self._pipeline.is_ready

    def require_ready(self) -> None:
        """Raises Unavailable while no warmed-up Classifier answers."""
        if not self.is_ready:
            raise Unavailable("no classifier is ready")

    def admit(self) -> AbstractContextManager[None]:
        """Around a request. Raises Unavailable or Overloaded if it would be rejected later."""
        return self._pipeline.admit()

    def describe(self) -> dict[str, Any]:
        """The model's metadata."""
        return {
            "name": MODEL_NAME,
            "versions": [MODEL_VERSION],
            "platform": PLATFORM,
            "inputs": [_describe(spec) for spec in INPUTS.values()],
            "outputs": [_describe(spec) for spec in OUTPUTS.values()],
            "properties": self.served,
        }

    def describe_config(self) -> dict[str, Any]:
        """The model's configuration, in the terms of Triton's `ModelConfig`."""
        return {
            "name": MODEL_NAME,
            "platform": PLATFORM,
            # 0: shapes are told whole. Triton leaves the first dimension out otherwise, and
            # of `image` nothing would be left, which its clients refuse.
            "max_batch_size": 0,
            # A request brings one of the three, so each of them is optional.
            "input": [_configure(spec) | {"optional": True} for spec in INPUTS.values()],
            "output": [_configure(spec) for spec in OUTPUTS.values()],
            "parameters": {
                "max_images": {"string_value": str(self.limits.max_images)},
                **{key: {"string_value": value} for key, value in self.served.items()},
            },
        }

    def list_repository(self, ready: bool) -> list[dict[str, str]]:
        """The repository's index: one model; none where only ready ones are asked for."""
        state = "READY" if self.is_ready else "UNAVAILABLE"
        if ready and not self.is_ready:
            return []
        return [{"name": MODEL_NAME, "version": MODEL_VERSION, "state": state, "reason": ""}]

    def input_spec(self, name: str, datatype: str, shape: Sequence[int]) -> TensorSpec:
        """The specification of an input, by what a request says of it before its data.

        Raises MalformedRequest, NoImage or TooManyImages.
        """
        if name not in INPUTS:
            raise MalformedRequest(f"there is no input {name!r:.80}, only {list_names(INPUTS)}")
        spec = INPUTS[name]
        spec.check(datatype, shape)
        if shape[0] == 0:
            raise NoImage(f"{name!r} holds no image")
        if shape[0] > self.limits.max_images:
            raise TooManyImages(f"a request may hold {self.limits.max_images} images at most")
        return spec

    async def infer(
        self,
        inputs: Sequence[Tensor],
        requested: Sequence[RequestedOutput],
        deadline: float,
        context: RequestContext,
    ) -> list[Tensor]:
        """Answer the outputs asked for (all, where none is named) before `deadline`.

        `deadline` is on the clock of `time.monotonic`; fills in `context`. Raises the
        ServiceError of the request, or that of the first image that cannot be classified:
        the protocol has no place for the answers of the others.
        """
        wanted = requested or [RequestedOutput(name) for name in OUTPUTS]
        check_outputs(wanted)
        if len(inputs) != 1:
            raise MalformedRequest(f"send exactly one of the inputs {list_names(INPUTS)}")
        context.images = inputs[0].shape[0]
        async with deadline_scope(deadline):
            results = await self._classify(inputs[0], deadline, context)
        probabilities = stack(results)
        return [encode_output(output, probabilities) for output in wanted]

    async def _classify(
        self, tensor: Tensor, deadline: float, context: RequestContext
    ) -> list[Result]:
        if not isinstance(tensor.values, list):
            _check_finite(tensor.values)
            return await self._pipeline.classify(tensor.values, deadline, context)
        uploads = [
            Upload.of(str(index), data, self.limits) for index, data in enumerate(tensor.values)
        ]
        return list((await self._pipeline.run(uploads, deadline, context)).values())


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _configure(spec: TensorSpec) -> dict[str, Any]:
    data_type = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": data_type, "dims": list(spec.shape)}


def _check_finite(values: ImageBatch) -> None:
    """An engine may make numbers out of what is none, so the output alone does not tell."""
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise UndecodableImage(f"image {finite.argmin()}: its values are not all finite numbers")


async def run_in_parser_thread(
    read: Callable[Arguments, Translated], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Translated:
    """Run a transport's translation of a request away from the event loop, one at a time.

    Lists of numbers take many times the memory of the bytes they came in.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_parser_thread(), partial(read, *args, **kwargs))


@cache
def _parser_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="parse")


def require_model(name: str, version: str) -> None:
    """Raises NotFound for any other than the one model; an empty version is the newest."""
    if name != MODEL_NAME:
        raise NotFound(f"there is no model {name!r:.80}, only {MODEL_NAME!r}")
    if version not in ("", MODEL_VERSION):
        raise NotFound(f"there is no version {version!r:.80} of {MODEL_NAME!r}, only '1'")
