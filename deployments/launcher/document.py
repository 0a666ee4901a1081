"""The text of a Ray Serve YAML: parsed, without keys that stand twice."""

from pathlib import Path
from typing import Any

import yaml

from deployments.common.errors import StartupError


class _Loader(yaml.SafeLoader):
    """A SafeLoader that rejects repeated keys, of which YAML's own takes the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value}' stands twice. Remove one of them.",
                    problem_mark=key.start_mark,
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> dict[str, Any]:
    """Parse the one mapping that a YAML file holds. Raises StartupError."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506, a SafeLoader
    except OSError as error:
        raise StartupError(
            f"{path} cannot be read ({error.strerror}). Give the path of a Ray Serve YAML, such as "
            "serve_config.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise StartupError(f"{path} is not a text file in UTF-8.") from error
    except yaml.YAMLError as error:
        raise StartupError(f"{path}{_describe(error)}") from error
    if not isinstance(document, dict):
        raise StartupError(f"{path} holds no mapping of keys. serve_config.yaml is an example.")
    return document


def _describe(error: yaml.YAMLError) -> str:
    """Where and what, in one line: YAML's own message takes several."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{where}: {problem}"
