"""What the raylet runs as each worker at first: it becomes the worker.

Ray's own program imports Ray, which takes 0.5 s of CPU, sets up the worker's runtime_env, and
becomes a Python that imports Ray again. Without a runtime_env there is nothing to set up.
Runs in: each worker's process, before the worker. Must not import: anything but the standard
library.
"""

import json
import os
import sys
from typing import NoReturn

CONTEXT = "--serialized-runtime-env-context="
LANGUAGE = "--language="
WORKER = "default_worker.py"


def main(arguments: list[str]) -> NoReturn:
    """Become what the arguments say. Ray's own program does the rest, if there is more to do."""
    context = _find(CONTEXT, arguments)
    if _is_trivial(json.loads(context or "{}")) and _find(LANGUAGE, arguments) == "PYTHON":
        kept = [each for each in arguments if not each.startswith((CONTEXT, LANGUAGE))]
        _become(kept)
    worker = next(each for each in arguments if each.endswith(WORKER))
    _become([worker.removesuffix(WORKER) + "setup_worker.py", *arguments])


def _become(arguments: list[str]) -> NoReturn:
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606, no shell is wanted


def _find(name: str, arguments: list[str]) -> str | None:
    found = [each for each in arguments if each.startswith(name)]
    return found[0].removeprefix(name) if found else None


def _is_trivial(context: dict[str, object]) -> bool:
    """Whether it asks for this interpreter in this environment."""
    return context.pop("py_executable", sys.executable) == sys.executable and not any(
        context.values()
    )


if __name__ == "__main__":
    main(sys.argv[1:])
