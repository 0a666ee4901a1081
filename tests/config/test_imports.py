"""Imports go one way, and the ingress never reaches torch."""

import ast
import subprocess
import sys

from tests.service import ROOT

LAYERS = [
    {"__main__"},
    {"app"},
    {"ingress", "classifier", "proxy"},
    {"api", "remote"},
    {"envelope", "page", "pipeline"},
    {"batcher", "imaging", "model", "schemas", "uploads", "weights"},
    {"classes", "errors", "messages", "settings"},
]
"""From the top down: a module imports from the layers below its own, and not sideways."""


def imports_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / "deployments" / f"{module}.py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "deployments":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deployments."):
            found.add((node.module or "").split(".")[1])
    return found


def test_every_module_has_its_layer() -> None:
    modules = {path.stem for path in (ROOT / "deployments").glob("*.py")} - {"__init__"}
    assert modules == set().union(*LAYERS)


def test_imports_go_one_way() -> None:
    for depth, layer in enumerate(LAYERS):
        below = set().union(*LAYERS[depth + 1 :])
        for module in layer:
            assert imports_of(module) <= below, module


def test_neither_the_ingress_nor_building_the_application_imports_torch() -> None:
    for module in ("deployments.ingress", "deployments.app"):
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_stands_under_the_deployments_imports_no_ray() -> None:
    modules = ["api", "envelope", "pipeline", "batcher", "imaging", "model", "uploads", "weights"]
    names = ", ".join(f"deployments.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
