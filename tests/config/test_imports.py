"""Imports go one way, and the ingress never reaches torch."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.service import ROOT

LAYERS = [
    {"__main__"},
    {"app", "environment", "prefetch"},
    {"ingress", "classifier", "proxy"},
    {"api", "remote"},
    {"v2", "intake"},
    {"envelope", "page", "pipeline", "threads"},
    {"access", "decoders"},
    {"metrics"},
    {"batcher", "budget", "connection", "imaging", "model", "schemas", "uploads"},
    {"openvino_model", "torch_model"},
    {"conversion"},
    {"checkpoint"},
    {"weights"},
    {"record"},
    {"classes", "errors", "messages", "retries", "scaling", "settings", "timings", "tracing"},
]
"""From the top down: a module imports from the layers below its own, and not sideways."""

LAYERS_OF_V2 = [{"rest", "grpc"}, {"inference"}, {"protocol"}]


def files_of(module: str) -> list[Path]:
    path = ROOT / "deployments" / module
    return list(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports_of(module: str, package: str = "deployments") -> set[str]:
    """The modules of a package that a module, or any module of a package in it, imports."""
    trees = [ast.parse(file.read_text()) for file in files_of(module)]
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add((node.module or "").removeprefix(f"{package}.").split(".")[0])
    return found - {module}


def test_every_module_has_its_layer() -> None:
    modules = {path.parent for path in (ROOT / "deployments").glob("*/__init__.py")}
    names = {path.stem for path in [*(ROOT / "deployments").glob("*.py"), *modules]}
    assert names - {"__init__"} == set().union(*LAYERS)


def test_imports_go_one_way() -> None:
    for depth, layer in enumerate(LAYERS):
        below = set().union(*LAYERS[depth + 1 :])
        for module in layer:
            assert imports_of(module) <= below, module


def test_imports_within_v2_go_one_way() -> None:
    for depth, layer in enumerate(LAYERS_OF_V2):
        below = set().union(*LAYERS_OF_V2[depth + 1 :])
        for module in layer:
            assert imports_of(f"v2/{module}", "deployments.v2") <= below, module


def test_neither_the_ingress_nor_building_the_application_imports_torch() -> None:
    for module in ("deployments.ingress", "deployments.app"):
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_stands_under_the_deployments_imports_no_ray() -> None:
    modules = [
        "api",
        "envelope",
        "pipeline",
        "batcher",
        "imaging",
        "model",
        "threads",
        "uploads",
        "weights",
        "access",
        "decoders",
        "intake",
    ]
    modules += ["v2.inference", "v2.protocol", "v2.rest"]
    names = ", ".join(f"deployments.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
