"""The tensors that a PyTorch checkpoint names, read without torch, whose import takes seconds.

A checkpoint is a pickle, within a zip archive or, before PyTorch 1.6, behind three small ones.
Only the functions that rebuild tensors are let in, and they are stubs: nothing in the file runs.
`model.checkpoint` checks the rest when the model is loaded.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from deployments.common.errors import StartupError
from deployments.model.spec import SPEC

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_HEADER_PICKLES = 2
"""After the magic number: the protocol's version and the sizes of the system's integers."""

Shape = tuple[int, ...]


def check_checkpoint(path: Path) -> None:
    """Raise StartupError unless the last layer in a file is that of `SPEC`'s network."""
    content = _read_content(path)
    if not isinstance(content, Mapping):
        raise StartupError(f"weights: {path} holds no state dict. Save model.state_dict().")
    shape, expected = content.get(SPEC.head), (SPEC.num_classes, SPEC.num_features)
    if not isinstance(shape, tuple):
        keys = ", ".join(map(str, list(content)[:3]))
        raise StartupError(
            f"weights: {path} is no {SPEC.title} checkpoint: it has no {SPEC.head} (its first "
            f"keys: {keys}). Save the state_dict() of torchvision's {SPEC.name}."
        )
    if shape != expected:
        raise StartupError(
            f"weights: {path} has {SPEC.head} of shape {list(shape)}, and {SPEC.title} with "
            f"{SPEC.num_classes} classes has {list(expected)}. Give a checkpoint with ImageNet's "
            "classes."
        )


def _read_content(path: Path) -> Any:
    """The object that was saved, with a shape in the place of each tensor. Raises StartupError."""
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _read_archive(file)
            file.seek(0)
            return _read_legacy(file)
    except _ForeignObject as error:
        raise StartupError(
            f"weights: {path} holds a {error}, and not only tensors. Save model.state_dict()."
        ) from error
    except Exception as error:
        raise StartupError(
            f"weights: {path} is not a readable PyTorch checkpoint. Give a file that torch.save "
            "wrote, or 'imagenet' for the official weights, or 'auto'."
        ) from error


def _read_archive(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        return _ShapeUnpickler(io.BytesIO(archive.read(name))).load()


def _read_legacy(file: IO[bytes]) -> Any:
    if _ShapeUnpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("no magic number")
    for _ in range(_LEGACY_HEADER_PICKLES):
        _ShapeUnpickler(file).load()
    return _ShapeUnpickler(file).load()


class _ForeignObject(Exception):
    """The file names a class or a function that a state dict has no need of."""


class _ShapeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild_"):
            return _rebuild_parameter if "parameter" in name else _rebuild_tensor
        if module in ("torch", "torch.storage") or module.startswith("torch.storage."):
            return name  # a storage's or a number's type: a mark within persistent ids
        raise _ForeignObject(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> None:
        """A tensor's numbers, which nobody asks for."""


def _rebuild_tensor(_storage: object, _offset: int, shape: Shape, *_: object) -> Shape:
    return tuple(shape)


def _rebuild_parameter(data: Shape, *_: object) -> Shape:
    return data
