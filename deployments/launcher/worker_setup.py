"""What the raylet runs as each worker at first: it becomes the worker.

Ray's own program imports Ray, which takes 0.5 s of CPU, sets up the worker's runtime_env, and
becomes a Python that imports Ray again. Without a runtime_env there is nothing to set up, and this
Python runs the worker.
Runs in: each worker's process, before the worker. Must not import: anything but the standard
library and `common.garbage`.
"""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import NoReturn

from deployments.common.garbage import pause_collection

CONTEXT = "--serialized-runtime-env-context="
LANGUAGE = "--language="
WORKER = "default_worker.py"


def main(arguments: list[str]) -> None:
    """Run the worker of the arguments, or become Ray's own program if there is more to set up."""
    context = _find(CONTEXT, arguments)
    if _is_trivial(json.loads(context or "{}")) and _find(LANGUAGE, arguments) == "PYTHON":
        _run([each for each in arguments if not each.startswith((CONTEXT, LANGUAGE))])
    else:
        worker = next(each for each in arguments if each.endswith(WORKER))
        _become([worker.removesuffix(WORKER) + "setup_worker.py", *arguments])


def _run(arguments: list[str]) -> None:
    """As `python *arguments` would, in this process."""
    pause_collection()
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")


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
