"""The process that runs in a namespace: ``python -m guard.lab.child echo`` or ``cloud``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from guard.lab.certificate import client_context, server_context
from guard.lab.cloud import Cloud
from guard.lab.echo import Echo
from guard.lab.process import Command, Handler, serve
from guard.lab.session import Session

PORT = 443


async def start_echo(settings: Command) -> Handler:
    """Make an Echo that dials over the kernel's TCP."""
    loop = asyncio.get_running_loop()
    hosts: dict[str, str] = settings["hosts"]

    async def dial(make: Callable[[], Session], host: str) -> Session:
        _transport, session = await loop.create_connection(make, hosts[host], PORT)
        return session

    echo = Echo(
        settings["temperament"],
        context=client_context(Path(settings["certificate"]), settings["tls"]),
        dial=dial,
        period_scale=settings["period_scale"],
    )
    return echo.handle


async def start_cloud(settings: Command) -> Handler:
    """Make the cloud and listen on every address of its namespace."""
    loop = asyncio.get_running_loop()
    context = server_context(Path(settings["certificate"]), Path(settings["key"]))
    cloud = Cloud(context=context, devices=settings["devices"])
    await loop.create_server(cloud.make_session, host=settings["addresses"], port=PORT, backlog=256)
    return cloud.handle


_PARTS = {"echo": start_echo, "cloud": start_cloud}

if __name__ == "__main__":
    asyncio.run(serve(_PARTS[sys.argv[1]]))
