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
        "ingress.access_log",
        "ingress.application",
        "ingress.auth",
        "ingress.body_budget",
        "ingress.context",
        "ingress.http.body_limit",
        "ingress.http.middleware",
        "ingress.http.openapi",
        "ingress.http.routes",
        "ingress.images.decode_pool",
        "ingress.images.multipart",
        "ingress.images.pipeline",
        "ingress.images.preprocess",
        "ingress.request",
        "ingress.rpc.call_batcher",
        "ingress.rpc.circuit_breaker",
        "ingress.rpc.retry_budget",
        "ingress.v2.model",
        "ingress.v2.rest",
        "ingress.v2.tensors",
        "classifier.dynamic_batcher",
        "classifier.executor",
        "classifier.queued_request",
        "model.base",
        "model.weights",
    ]
    names = ", ".join(f"deployments.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_nothing_of_the_service_imports_fastapi_by_itself() -> None:
    code = "import sys, deployments.ingress.application; sys.exit('fastapi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
