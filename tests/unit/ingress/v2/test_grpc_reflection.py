"""Server reflection on Ray's own gRPC server, without Ray."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from ray.serve._private.grpc_util import start_grpc_server
from ray.serve.config import gRPCOptions

from deployments.ingress.v2.grpc_table import HEALTH_SERVICE, RPCS, SERVICE
from testing.ports import find_free_port
from testing.reflection import VERSIONS, list_methods, list_services

pytestmark = pytest.mark.anyio
OURS = {SERVICE, HEALTH_SERVICE}
REFLECTION = {f"grpc.reflection.{version}.ServerReflection" for version in VERSIONS}


@asynccontextmanager
async def serving(*, reflection: bool = True) -> AsyncIterator[int]:
    """Ray's gRPC server with the methods of this service; gives its port."""
    port = find_free_port()
    options = gRPCOptions(
        port=port,
        grpc_servicer_functions=["deployments.ingress.v2.grpc:add_to_server"],
        enable_reflection=reflection,
    )
    loop = asyncio.get_running_loop()
    ended, server = await start_grpc_server(lambda **_: None, options, event_loop=loop)
    try:
        yield port
    finally:
        await server.stop(0)
        await ended


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_version_names_the_services_and_both_versions(version: str) -> None:
    async with serving() as port:
        assert await asyncio.to_thread(list_services, port, version) == OURS | REFLECTION


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("service", sorted(OURS | REFLECTION))
async def test_each_service_that_is_named_is_described(version: str, service: str) -> None:
    async with serving() as port:
        methods = await asyncio.to_thread(list_methods, port, version, service)
    served = {name for name, rpc in RPCS.items() if rpc.service == service}
    assert methods >= (served or {"ServerReflectionInfo"})


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_that_is_off_answers_in_no_version(version: str) -> None:
    async with serving(reflection=False) as port:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(list_services, port, version)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
