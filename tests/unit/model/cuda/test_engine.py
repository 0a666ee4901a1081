"""Which errors of CUDA mean that the device is lost; all else of it needs a GPU."""

import pytest
import torch

from deployments.common.errors import DeviceLost
from deployments.model.cuda.engine import raising_device_lost


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access", 700), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
    ],
)
def test_only_what_cuda_does_not_recover_from_is_a_lost_device(
    error: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised), raising_device_lost():
        raise error
