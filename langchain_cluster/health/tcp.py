"""Does somebody listen? The least that can be asked, of anything that has a port."""

from __future__ import annotations

import asyncio
import socket
import time

from langchain_cluster.health.address import host_of
from langchain_cluster.health.http import NO_ADDRESS, failed, seconds
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.health import Health


class TcpCheck:
    """Healthy when a connection to the endpoint's host and port can be made. It is closed at once.

    A server that hangs still accepts connections: the system does it for the process.

    Args:
        timeout: seconds, of the look-up of the name and of the connection each.

    Raises:
        ConfigError: a timeout that is none.
    """

    def __init__(self, *, timeout: float = 1.0) -> None:
        self.timeout = seconds(timeout, "TcpCheck.timeout")

    def check(self, endpoint: Endpoint) -> Health:
        """Connect and leave."""
        place, began = host_of(endpoint), time.monotonic()
        if place is None:
            return Health(True, NO_ADDRESS)
        try:
            socket.create_connection(place, timeout=self.timeout).close()
        except OSError as error:
            return failed(error, began)
        return Health(True, f"port {place[1]} is open", seconds=time.monotonic() - began)

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        place, began = host_of(endpoint), time.monotonic()
        if place is None:
            return Health(True, NO_ADDRESS)
        try:
            async with asyncio.timeout(self.timeout):
                _, writer = await asyncio.open_connection(*place)
                writer.close()
                await writer.wait_closed()
        except OSError as error:
            return failed(error, began)
        return Health(True, f"port {place[1]} is open", seconds=time.monotonic() - began)

    def __repr__(self) -> str:
        return f"TcpCheck(timeout={self.timeout:g})"
