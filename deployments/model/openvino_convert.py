"""torch's network in, OpenVINO's graph of it out: `python -m deployments.model.openvino_convert`.

A process of its own, because torch and the conversion take 750 MB that a process never gives back.
`conversion` starts it and writes the weights to its standard input.
"""

import sys
import warnings
from pathlib import Path

import torch

from deployments.common.errors import StartupError
from deployments.model.checkpoint import build_network
from deployments.model.conversion import STARTUP_ERROR, decode_weights
from deployments.model.openvino_runtime import openvino
from deployments.model.spec import SPEC
from deployments.model.weights import Weights


def main() -> int:
    """Convert what standard input names into the file that the argument names.

    Returns the exit status; a StartupError's message is the whole of standard error.
    """
    try:
        graph = convert(decode_weights(sys.stdin.read()))
    except StartupError as error:
        print(error, file=sys.stderr)
        return STARTUP_ERROR
    openvino.save_model(graph, Path(sys.argv[1]), compress_to_fp16=False)
    return 0


def convert(weights: Weights) -> openvino.Model:
    """float32 pixels (1, 224, 224, 3) of 0 to 255 in, probabilities (1, 1000) out.

    A graph of a known shape was seen to cost 10 to 20 % less CPU an image than one of any
    number of images, whatever that number.
    """
    shape = [1, SPEC.input_px, SPEC.input_px, 3]
    # OpenVINO converts by way of torch.jit, which torch warns of; no user can act on it.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return openvino.convert_model(
            _WithEnds(build_network(weights)),
            example_input=torch.zeros(shape),
            input=[openvino.PartialShape(shape)],
        )


class _WithEnds(torch.nn.Module):
    """The network with normalisation before it and softmax after it."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self._network = network
        self._mean = torch.from_numpy(SPEC.pixel_mean).view(1, 3, 1, 1)
        self._std = torch.from_numpy(SPEC.pixel_std).view(1, 3, 1, 1)
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        normalised = (pixels.permute(0, 3, 1, 2) - self._mean) / self._std
        probabilities: torch.Tensor = self._network(normalised).softmax(dim=1)
        return probabilities


if __name__ == "__main__":
    sys.exit(main())
