"""The DenseNet that is rewritten for a GPU computes what torchvision's does."""

import torch
from torchvision.models import DenseNet, densenet121

from deployments.model.cuda.inference import DenseNetForInference
from deployments.model.cuda.ops import TorchOps

CPU = torch.device("cpu")


def make_network() -> DenseNet:
    """With norms as after a training: of both signs, and none of them the identity."""
    torch.manual_seed(0)
    network = densenet121(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 0.5, 0.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            statistics = dict(module.named_buffers())
            statistics["running_mean"].normal_(0, 0.3)
            statistics["running_var"].uniform_(0.5, 2)
    return network


@torch.inference_mode()
def test_the_rewritten_network_gives_the_logits_of_the_original() -> None:
    network = make_network()
    images = torch.randn(2, 3, 64, 96)

    rewritten = DenseNetForInference(network, TorchOps(), CPU, torch.float32)
    logits = rewritten(images.contiguous(memory_format=torch.channels_last))

    expected = network(images)
    assert expected.std() > 0.05  # else any network would do
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_images_of_one_batch_do_not_change_each_other() -> None:
    rewritten = DenseNetForInference(make_network(), TorchOps(), CPU, torch.float32)
    images = torch.randn(3, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    together = rewritten(images)

    alone = torch.cat([rewritten(images[index : index + 1]) for index in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
