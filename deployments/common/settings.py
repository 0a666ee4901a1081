"""The models behind the YAML: `Settings` is `args`, `BatchingConfig` a `user_config`.

Unknown keys are rejected: Ray itself ignores a misspelt key in silence.
"""

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

DRAIN_TIMEOUT_S = 40.0
"""How long a replica may finish what is in flight: more than `Limits.timeout_s` by default."""

Device = Literal["cpu", "cuda"]
Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

logger = logging.getLogger("ray.serve")


def _check_origin(value: str) -> str:
    """Take `*`, or scheme, host and port as browsers send them in `Origin`."""
    if value != "*" and not re.fullmatch(r"https?://[^/\s?#@,*]+", value):
        raise ValueError(f"{value!r} is no origin. Write '*', or one such as https://example.org")
    return value


Origin = Annotated[str, AfterValidator(_check_origin)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Strict):
    """What one request may ask for. Sizes in bytes, pixels, images and seconds.

    `max_buffered_bytes` bounds the bodies of all HTTP requests together that one Ingress holds
    and has not responded to yet.
    """

    max_image_bytes: PositiveInt = 10 * 2**20
    max_image_pixels: PositiveInt = 50_000_000
    max_images: PositiveInt = 32
    max_request_bytes: PositiveInt = 64 * 2**20
    max_buffered_bytes: PositiveInt = 512 * 2**20
    timeout_s: PositiveSeconds = 30.0

    @model_validator(mode="after")
    def _one_request_fits(self) -> Self:
        if self.max_buffered_bytes < self.max_request_bytes:
            raise ValueError("max_buffered_bytes is less than max_request_bytes")
        return self


class Settings(_Strict):
    """The identity of an application; changing any of it redeploys.

    `weights` is `auto`, `imagenet` or the path of a checkpoint; `weights_url` is a mirror
    of the official one, and None is the address of its makers. `gpu_fraction` is the
    share of a GPU that Ray reserves for each Classifier replica, and `gpu_wait_s` how
    long `device: cuda` waits for a node with a GPU to join. `api_keys_file` lets in
    only clients whose keys it names (see `ingress.auth`); without it, `allow_anonymous`
    lets the launcher listen on more than localhost. `cors_origins` names the origins whose
    pages a browser lets use the API.
    """

    weights: Annotated[str, Field(min_length=1)] = "auto"
    weights_url: Annotated[str, Field(pattern="^https?://")] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Engine = "auto"
    precision: Precision = "auto"
    gpu_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    gpu_wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    api_keys_file: Annotated[str, Field(min_length=1)] | None = None
    allow_anonymous: bool = False
    cors_origins: list[Origin] = []
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _engine_suits_device(self) -> Self:
        if self.engine == "openvino" and self.device == "cuda":
            raise ValueError("engine: openvino runs on the CPU; use 'engine: torch' for cuda")
        return self

    @model_validator(mode="after")
    def _access_is_one_thing(self) -> Self:
        if self.api_keys_file is not None and self.allow_anonymous:
            raise ValueError(
                "allow_anonymous: true contradicts api_keys_file, which rejects requests "
                "without a key. Remove one of them."
            )
        return self


class BatchingConfig(_Strict):
    """What can change while the Classifier serves (`user_config`).

    `max_batch_size` is in images; unset, it is the size that the engine gains by
    (`model.base.Model.max_batch_size`). `batch_wait_timeout_s` is how long an image may wait
    for others while the model is free; images that come while the model is busy
    join the next batch whatever this says. `max_queue_wait_s` is how long what waits before the
    model of one replica may take; while it would take longer, requests are rejected. It is half
    of the default deadline.
    """

    max_batch_size: PositiveInt | None = None
    batch_wait_timeout_s: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_queue_wait_s: PositiveSeconds = 15.0

    def batch_size(self, of_engine: int) -> int:
        """The batch size in effect, in images, for an engine that gains by `of_engine`."""
        return self.max_batch_size or of_engine


def read_batching_config(
    user_config: Mapping[str, object] | None, current: BatchingConfig
) -> BatchingConfig:
    """Validate a live `user_config`. A mistake logs one line and keeps `current`.

    Raising instead would make Ray stop a replica that serves.
    """
    try:
        return BatchingConfig.model_validate({} if user_config is None else user_config)
    except ValidationError as error:
        mistakes = "; ".join(_describe(each["loc"], each["msg"]) for each in error.errors())
        logger.error("user_config: %s. The replica keeps %s.", mistakes, current)
        return current


def _describe(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(map(str, location))
    return f"{name}: {message}" if name else message
