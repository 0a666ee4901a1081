"""The documents' commands, replayed: what they show is what comes."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from testing.pictures import encode
from testing.service import ROOT, Service

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = "\n".join(page.read_text() for page in PAGES)


def list_commands() -> list[tuple[str, str]]:
    """Each command of a console block, with the output shown under it."""
    blocks = re.findall(r"```console\n(.*?)```", DOCUMENTS, re.DOTALL)
    pairs = [block[2:].partition("\n") for block in blocks if block.startswith("$ ")]
    return [(command, output.strip()) for command, _, output in pairs]


CURLS = [pair for pair in list_commands() if pair[0].startswith("curl ")]


def form_of(answer: Any) -> Any:
    """An answer with its classes and probabilities, which are the picture's, taken out."""
    if isinstance(answer, dict):
        if "error" in answer:
            return answer
        return {key: form_of(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [form_of(value) for value in answer]
    return type(answer).__name__


@pytest.mark.parametrize(("command", "shown"), CURLS)
def test_a_command_gives_the_output_shown(
    service: Service, pictures: list[Image.Image], tmp_path: Path, command: str, shown: str
) -> None:
    for name, picture in zip(("cat.jpg", "dog.jpg"), pictures, strict=False):
        (tmp_path / name).write_bytes(encode(picture, "JPEG"))
    (tmp_path / "notes.txt").write_text("no image")
    here = command.replace("localhost:5000", f"localhost:{service.port}")
    ran = subprocess.run(
        ["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer, expected = json.loads(ran.stdout), json.loads(shown)
    assert list(answer) == list(expected)
    assert form_of(answer) == form_of(expected)


def test_serve_deploy_is_taken_as_shown(service: Service) -> None:
    (command,) = [line for line, _ in list_commands() if "serve deploy" in line]
    here = command.replace("serve_config.yaml", str(service.config))
    here = here.replace("http://127.0.0.1:8265", service.dashboard)
    subprocess.run(["bash", "-c", here], cwd=ROOT, check=True)


def test_every_make_target_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|\$ )make (\w+)", DOCUMENTS)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
