"""No process loads what it does not need; import-linter keeps the rest (pyproject.toml)."""

import subprocess
import sys

from testing.service import ROOT


def test_neither_the_ingress_nor_building_the_application_imports_torch() -> None:
    for module in ("deployments.ingress.deployment", "deployments.app"):
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_stands_under_the_deployments_imports_no_ray() -> None:
    modules = [
        "ingress.application",
        "ingress.auth",
        "ingress.http.body_limit",
        "ingress.http.middleware",
        "ingress.images.decode_pool",
        "ingress.images.multipart",
        "ingress.images.pipeline",
        "ingress.images.preprocess",
        "ingress.v2.model",
        "ingress.v2.rest",
        "ingress.v2.tensors",
        "classifier.batcher",
        "classifier.executor",
        "model.base",
        "model.weights",
    ]
    names = ", ".join(f"deployments.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
