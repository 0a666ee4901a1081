"""The pydantic models that Ray parses a document with, and ours behind its plain mappings."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from deployments.common.settings import BatchingConfig, Settings

Model = type[BaseModel]

OUR_MODELS: dict[tuple[Model, str], Model] = {
    (ServeApplicationSchema, "args"): Settings,
    (DeploymentSchema, "user_config"): BatchingConfig,
}
"""What stands behind the fields that are plain mappings to Ray."""


@dataclass(frozen=True)
class Nested:
    """A model within a field of another; `is_hidden` if Ray's own validation passes it by."""

    model: Model
    is_list: bool = False
    is_optional: bool = False
    is_hidden: bool = False

    def elements(self, value: Any, path: str) -> list[tuple[str, Any]]:
        """The values that the model stands for, each with its path."""
        if not self.is_list:
            return [(path, value)]
        elements = value if isinstance(value, list) else []
        return [(f"{path}[{label(each, index)}]", each) for index, each in enumerate(elements)]


def nested_models(owner: Model, key: str) -> Iterator[Nested]:
    annotation = owner.model_fields[key].annotation
    if (owner, key) in OUR_MODELS:
        is_optional = type(None) in typing.get_args(annotation)
        yield Nested(OUR_MODELS[owner, key], is_optional=is_optional, is_hidden=True)
    else:
        yield from _models_of(annotation)


def _models_of(annotation: Any) -> Iterator[Nested]:
    parts = typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield Nested(annotation)
    elif typing.get_origin(annotation) is list:
        yield from (replace(inner, is_list=True) for inner in _models_of(parts[0]))
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        takes_any_mapping = any(typing.get_origin(part) or part is dict for part in parts)
        for inner in (inner for part in parts for inner in _models_of(part)):
            yield replace(
                inner,
                is_optional=type(None) in parts,
                is_hidden=inner.is_hidden or takes_any_mapping,
            )


def list_levels(model: Model = ServeDeploySchema, key: str = "") -> Iterator[tuple[str, Model]]:
    """Every level of a document, by the key it stands under; the top level's is empty."""
    yield key, model
    for name in model.model_fields:
        for nested in nested_models(model, name):
            yield from list_levels(nested.model, name)


def join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def label(element: Any, index: int) -> str:
    """How an element of a list is called: by its name if it has one."""
    name = element.get("name") if isinstance(element, dict) else None
    return name if isinstance(name, str) and name else str(index)
