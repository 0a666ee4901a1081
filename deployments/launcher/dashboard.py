"""Ray's dashboard, which starts with the first request to its address.

Until then the launcher holds the address. A dashboard that nobody looks at is six processes.
"""

import asyncio
import errno
import socket
import threading
from contextlib import closing, suppress

from ray._private.ray_constants import DEFAULT_DASHBOARD_PORT

from deployments.common.errors import StartupError
from deployments.launcher.local_node import LOCALHOST, LocalNode, global_node

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104, compared, not bound
PORTS = range(DEFAULT_DASHBOARD_PORT, DEFAULT_DASHBOARD_PORT + 50)
"""As many as Ray tries."""
CHUNK_BYTES = 2**16


def open_dashboard() -> str:
    """Hold the dashboard's address. Returns its host and port, or those of a joined Ray's.

    Raises StartupError if all ports are in use, or the host is not this machine's.
    """
    node = global_node()
    if not isinstance(node, LocalNode):
        return str(node.webui_url)
    listener = _listen(node.dashboard_host)
    host, port = listener.getsockname()[:2]
    shown = node.node_ip_address if host in ANY_ADDRESS else host
    address = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
    tunnel = Tunnel(node, address)
    # One thread, which never ends: Linux ends a process with the thread that started it.
    threading.Thread(
        target=asyncio.run, args=[tunnel.serve(listener)], name="dashboard", daemon=True
    ).start()
    return address


def _listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in PORTS:
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartupError(
                    f"Ray's dashboard cannot listen on --dashboard-host {host} "
                    f"({error.strerror}). Choose an address of this machine."
                ) from error
    raise StartupError(
        f"the ports {PORTS[0]} to {PORTS[-1]} of {host} are in use: Ray's dashboard needs one. "
        "Stop another Ray, or choose an address of this machine with --dashboard-host."
    )


class Tunnel:
    """Carries each connection to the dashboard, which the first request starts."""

    def __init__(self, node: LocalNode, address: str) -> None:
        self._node = node
        self._address = address
        self._port: int | None = None

    async def serve(self, listener: socket.socket) -> None:
        self._node.start_postponed_monitor()
        self._node.publish_dashboard(self._address)
        server = await asyncio.start_server(self._carry, sock=listener)
        await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):  # either side may leave
            first = await reader.read(CHUNK_BYTES)
            if not first or (port := self._find_port()) is None:
                return
            from_dashboard, to_dashboard = await asyncio.open_connection(LOCALHOST, port)
            with closing(to_dashboard):
                to_dashboard.write(first)
                await asyncio.gather(_copy(reader, to_dashboard), _copy(from_dashboard, writer))

    def _find_port(self) -> int | None:
        """The port of the dashboard. Starts it, which blocks the others: they wait for it too."""
        if self._port is None:
            try:
                self._port = self._node.start_dashboard()
            except Exception as error:  # noqa: BLE001, Ray raises Exception itself
                print(f"WARNING: Ray's dashboard did not start: {error}", flush=True)
                return None
            self._node.publish_dashboard(self._address)
        return self._port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
