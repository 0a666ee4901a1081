"""What it was measured on: the figures mean nothing without it."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
PACKAGES = ("ray", "torch", "torchvision", "openvino", "pillow", "numpy", "fastapi", "uvicorn")


def describe_machine() -> dict[str, str]:
    """Hardware and versions, in words; the load average tells whether it was at rest."""
    return {
        "CPU": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} of {psutil.cpu_count()}",
        "CPU flags": " ".join(flag for flag in FLAGS if flag in _cpu_flags()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **dict(_versions()),
        "load average at start": f"{os.getloadavg()[0]:.1f}",
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpuinfo("flags").split())


def _cpuinfo(key: str) -> str:
    """A line of the first core's description; empty where the system has none."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
