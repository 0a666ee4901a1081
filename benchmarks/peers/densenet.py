"""DenseNet-121 for peers: torch, torchvision's transforms, or the service's engine.

PEER_CHECKPOINT (a path), PEER_PRECISION (fp32 or bf16), PEER_ENGINE (torch or openvino).
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torchvision.models import DenseNet, DenseNet121_Weights

from benchmarks.peers.network import MAX_BATCH_SIZE
from testing.reference import load_reference

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Forward = Callable[[torch.Tensor], torch.Tensor]


class DenseNet121:
    """Meets `network.Model`; warm once it is made."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._transforms = DenseNet121_Weights.IMAGENET1K_V1.transforms()
        self.best([self.prepare(_blank())] * MAX_BATCH_SIZE)

    def prepare(self, data: bytes) -> torch.Tensor:
        """An image file's bytes to float32 (3, 224, 224)."""
        with Image.open(io.BytesIO(data)) as image:
            prepared: torch.Tensor = self._transforms(image.convert("RGB"))
        return prepared

    @torch.inference_mode()
    def best(self, images: list[torch.Tensor]) -> list[int]:
        numbers: list[int] = self._forward(torch.stack(images)).argmax(dim=1).tolist()
        return numbers


def load(channels_last: bool) -> DenseNet121:
    network = load_reference(Path(os.environ["PEER_CHECKPOINT"]))
    dtype = torch.bfloat16 if os.environ.get("PEER_PRECISION") == "bf16" else torch.float32
    engine = {"torch": _torch, "openvino": _openvino}[os.environ.get("PEER_ENGINE", "torch")]
    return DenseNet121(engine(network, dtype, channels_last))


def _torch(network: DenseNet, dtype: torch.dtype, channels_last: bool) -> Forward:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(DEVICE, dtype, memory_format=layout)

    def forward(images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network(images.to(DEVICE, dtype, memory_format=layout))
        return logits

    return forward


def _openvino(network: DenseNet, dtype: torch.dtype, _: bool) -> Forward:
    import openvino  # only where it is asked for: it takes a second

    precision = "bf16" if dtype == torch.bfloat16 else "f32"
    model = openvino.convert_model(network, example_input=torch.zeros(1, 3, 224, 224))
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def forward(images: torch.Tensor) -> torch.Tensor:
        (logits,) = compiled.create_infer_request().infer(images.numpy()).values()
        return torch.from_numpy(logits)

    return forward


def _blank() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 256)).save(file, "PNG")
    return file.getvalue()
