"""What all peers share: DenseNet-121, torchvision's transforms, the names of the classes.

Read from the environment, so that one command line sets all systems alike:
PEER_CHECKPOINT (a path), PEER_PRECISION (fp32 or bf16), PEER_ENGINE (torch or openvino).
Runs in every peer's environment: needs torch, torchvision and Pillow, and no Ray.
"""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torchvision.models import DenseNet, DenseNet121_Weights
from typing_extensions import TypedDict  # BentoML reads it with pydantic

from testing.reference import load_reference

CLASSES_PATH = Path(__file__).parents[2] / "deployments" / "common" / "imagenet_class_index.json"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MAX_BATCH_SIZE = 32 if DEVICE.type == "cuda" else 8
"""As large as makes the model faster on this kind of hardware, and no larger."""

Forward = Callable[[torch.Tensor], torch.Tensor]


class Prediction(TypedDict):
    class_id: str
    class_name: str


class Network:
    """The model behind a peer. Calls may come from several threads."""

    def __init__(self, engine: str | None = None, channels_last: bool = True) -> None:
        engine = engine or os.environ.get("PEER_ENGINE", "torch")
        network = load_reference(Path(os.environ["PEER_CHECKPOINT"]))
        dtype = torch.bfloat16 if os.environ.get("PEER_PRECISION") == "bf16" else torch.float32
        self._transforms = DenseNet121_Weights.IMAGENET1K_V1.transforms()
        self._forward = {"torch": _torch, "openvino": _openvino}[engine](
            network, dtype, channels_last
        )
        index: dict[str, list[str]] = json.loads(CLASSES_PATH.read_text())
        self._classes = [index[str(number)] for number in range(len(index))]
        self.classify([self.prepare(_blank())] * MAX_BATCH_SIZE)

    def prepare(self, data: bytes) -> torch.Tensor:
        """An image file's bytes to float32 (3, 224, 224)."""
        with Image.open(io.BytesIO(data)) as image:
            prepared: torch.Tensor = self._transforms(image.convert("RGB"))
        return prepared

    @torch.inference_mode()
    def classify(self, images: Sequence[torch.Tensor]) -> list[Prediction]:
        """The best class of each of some prepared images, in one pass."""
        best = self._forward(torch.stack(list(images))).argmax(dim=1).tolist()
        return [Prediction(class_id=id_, class_name=name) for id_, name in map(self._class, best)]

    def _class(self, number: int) -> tuple[str, str]:
        class_id, class_name = self._classes[number]
        return class_id, class_name


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
