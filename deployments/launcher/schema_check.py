"""A Ray Serve document against Ray's own schemas and ours, at every level.

Ray ignores unknown keys in silence, converts types, and reads some mappings only when a
deployment starts. The keys and types that are allowed come from the pydantic models that Ray
parses the document with, so they follow Ray's version.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from ray.runtime_env import RuntimeEnv
from ray.serve.schema import HTTPOptionsSchema, RayActorOptionsSchema, ServeDeploySchema

from deployments.launcher.schema_models import (
    Model,
    Nested,
    join,
    label,
    list_levels,
    nested_models,
)

_TLS = (
    "TLS is a reverse proxy's job. Remove this key and put Caddy in front, as config/Caddyfile "
    "does: 'example.org {', 'reverse_proxy localhost:5000', '}'."
)
_GPU = (
    "'gpu_fraction' in the application's args sets the share of a GPU, and the device with it. "
    "Remove this key."
)
REFUSED: dict[tuple[Model, str], str] = {
    **{(HTTPOptionsSchema, key): _TLS for key in HTTPOptionsSchema.model_fields if "ssl" in key},
    (RayActorOptionsSchema, "num_gpus"): _GPU,
}
"""Keys that Ray knows and the launcher does not take, each with what to do instead."""


@dataclass(frozen=True)
class Problem:
    """One mistake: the path of its key, such as `http_options.port`, and what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def check_schema(document: dict[str, Any]) -> list[Problem]:
    """Every unknown key, rejected key and wrong value, one problem for each path."""
    problems = {each.path: each for each in _check_keys(ServeDeploySchema, document, "")}
    if not any(each.message.startswith("must be a mapping") for each in problems.values()):
        # Else Ray's validators, which expect mappings, would raise errors of their own.
        for each in _check_values(ServeDeploySchema, document, ""):
            problems.setdefault(each.path, each)
    return list(problems.values())


def _check_keys(model: Model, data: dict[str, Any], path: str) -> Iterator[Problem]:
    for key, value in data.items():
        where = join(path, key)
        if key not in model.model_fields:
            yield Problem(where, f"unknown key. {_suggest(key, model)}")
        elif (model, key) in REFUSED:
            yield Problem(where, REFUSED[model, key])
        elif key == "runtime_env" and isinstance(value, dict):
            yield from _check_runtime_env(value, where)
        else:
            for nested in nested_models(model, key):
                yield from _check_nested(nested, value, where)


def _check_nested(nested: Nested, value: Any, path: str) -> Iterator[Problem]:
    if value is None and nested.is_optional:
        return
    for where, each in nested.elements(value, path):
        if isinstance(each, dict):
            yield from _check_keys(nested.model, each, where)
        else:
            yield Problem(where, f"must be a mapping of keys, and is {_show(each)}.")


def _check_runtime_env(data: dict[str, Any], path: str) -> Iterator[Problem]:
    for key in data.keys() - RuntimeEnv.known_fields:
        yield Problem(join(path, key), f"unknown key. {nearest(key, RuntimeEnv.known_fields)}")


def _check_values(model: Model, data: dict[str, Any], path: str) -> Iterator[Problem]:
    """Wrong types and values. Through JSON, whose strict mode still takes names of enums."""
    hidden = list(_check_hidden(model, data, path))
    try:
        model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        for each in error.errors():
            if each["type"] != "extra_forbidden":
                yield _translate(each["loc"], each["msg"], each["input"], data, path)
    except (ImportError, AttributeError, TypeError) as error:
        if not hidden:  # a model of Ray's imports what a path names, and fails in each model around
            yield Problem(path, f"{error}.")
    yield from hidden


def _check_hidden(model: Model, data: dict[str, Any], path: str) -> Iterator[Problem]:
    for key in (key for key in data if key in model.model_fields):
        for nested in nested_models(model, key):
            check = _check_values if nested.is_hidden else _check_hidden
            for where, each in nested.elements(data[key], join(path, key)):
                if isinstance(each, dict):
                    yield from check(nested.model, each, where)


def _translate(
    location: Sequence[int | str], message: str, found: Any, data: Any, path: str
) -> Problem:
    """One error of pydantic's; what it adds to a location for unions is left out."""
    for part in location:
        if isinstance(data, dict) and part in data:
            path, data = join(path, part), data[str(part)]
        elif isinstance(data, list) and isinstance(part, int):
            path, data = f"{path}[{label(data[part], part)}]", data[part]
        elif part == location[-1] and isinstance(data, dict):
            path = join(path, part)
    if message == "Field required":
        return Problem(path, "is missing.")
    words = message.removeprefix("Value error, ").replace("Input should", "should").rstrip(".")
    return Problem(path, f"{words}, and is {_show(found)}." if "should" in words else f"{words}.")


def _show(value: Any) -> str:
    text = "empty" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _suggest(key: str, model: Model) -> str:
    """The levels where a misplaced key belongs, else the nearest key of this level."""
    levels = [f"'{name}'" for name, each in list_levels() if name and key in each.model_fields]
    if levels:
        return f"It belongs under {' or '.join(dict.fromkeys(levels))}."
    return nearest(key, model.model_fields)


def nearest(key: str, known: Sequence[str] | Any) -> str:
    near = difflib.get_close_matches(str(key), list(known), 1)
    return f"Did you mean '{near[0]}'?" if near else "Remove it."
