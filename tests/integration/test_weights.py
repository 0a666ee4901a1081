"""The official file arrives between two starts."""

import hashlib
from pathlib import Path

import requests
import yaml

from deployments.common.labels import load_classes
from deployments.model.spec import SPEC
from testing.official import SHA256_VARIABLE
from testing.pictures import encode, make_picture
from testing.ports import find_free_port
from testing.reference import make_checkpoint
from testing.service import running, write_config


def test_the_next_start_serves_the_official_file_once_it_is_in_torchs_cache(
    tmp_path: Path,
) -> None:
    pictures = [make_picture(seed) for seed in range(4)]
    checkpoint = tmp_path / "official.pth"
    make_checkpoint(pictures, checkpoint)
    config = write_config(tmp_path, find_free_port())
    document = yaml.safe_load(config.read_text())
    document["applications"][0]["import_path"] = "testing.official:build_app"
    config.write_text(yaml.safe_dump(document))
    environment = {
        "TORCH_HOME": str(tmp_path / "torch"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        SHA256_VARIABLE: hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    with running(config, **environment) as service:
        ready = requests.get(f"{service.url}/readyz", timeout=30)
        assert ready.headers["X-Model-Version"] == "stand-in-efficientnet-lite0"
    # Its own name, in the place that the warning named.
    (place,) = (line for line in service.output.splitlines() if "Put the file into" in line)
    folder = Path(place.partition("into ")[2].partition(",")[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC.official.name).write_bytes(checkpoint.read_bytes())
    with running(config, **environment) as service:
        files = {"file": ("picture.png", encode(pictures[3]))}
        response = requests.post(f"{service.url}/run_inference", files=files, timeout=60)
        assert "WARNING" not in service.output.partition("Ready: ")[0]
    assert response.headers["X-Model-Version"] == "imagenet1k-v1"
    assert response.json()["class_id"] == load_classes()[3].class_id
