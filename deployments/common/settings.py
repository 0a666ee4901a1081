"""The models behind the YAML: `Settings` is `args`, `BatchingConfig` a `user_config`.

Unknown keys are refused: Ray itself ignores a misspelt key in silence.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Device = Literal["cpu", "cuda"]
Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
GrpcClients = Literal["local", "any"]
PositiveInt = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Strict):
    """What one request may ask for. Sizes in bytes, pixels, images and seconds.

    `max_buffered_bytes` is for the bodies of all requests together that one HTTP proxy has
    let in and that are not answered yet.
    """

    max_image_bytes: PositiveInt = 10 * 2**20
    max_image_pixels: PositiveInt = 50_000_000
    max_images: PositiveInt = 32
    max_request_bytes: PositiveInt = 64 * 2**20
    max_buffered_bytes: PositiveInt = 512 * 2**20
    timeout_s: Annotated[float, Field(gt=0)] = 30.0

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
    long `device: cuda` waits for a node with a GPU to join. `grpc_clients` says who is
    answered on the gRPC port, which Ray opens on all interfaces. `api_keys_file` lets in
    only those whose keys it names (see `access`).
    """

    weights: Annotated[str, Field(min_length=1)] = "auto"
    weights_url: Annotated[str, Field(pattern="^https?://")] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Engine = "auto"
    precision: Precision = "auto"
    gpu_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    gpu_wait_s: Annotated[float, Field(ge=0)] = 0.0
    grpc_clients: GrpcClients = "local"
    api_keys_file: Annotated[str, Field(min_length=1)] | None = None
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _engine_suits_device(self) -> Self:
        if self.engine == "openvino" and self.device == "cuda":
            raise ValueError("engine: openvino runs on the CPU; use 'engine: torch' for cuda")
        return self


class BatchingConfig(_Strict):
    """What can change while the Classifier serves (`user_config`).

    `max_batch_size` is in images; a model that gains nothing by so many takes fewer at a time
    (`model.Model.max_batch_size`). `batch_wait_timeout_s` is how long an image may wait for
    company before it is put before the model; images that come while the model is busy
    join the next batch whatever this says. `max_queue_wait_s` is how long what waits before the
    model of one replica may take; while it would take longer, requests are refused.
    """

    max_batch_size: PositiveInt = 8
    batch_wait_timeout_s: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_queue_wait_s: Annotated[float, Field(gt=0)] = 4.0
