"""Clients of the server's HTTP API, for applications: `Client` and, for asyncio, `AsyncClient`."""

from __future__ import annotations

from recsys.errors import RecsysError

try:
    import httpx as _httpx
except ModuleNotFoundError as error:
    raise RecsysError("recsys.client needs `pip install 'recsys[client]'`: no module named httpx") from error

from recsys.client.async_client import AsyncClient
from recsys.client.client import Client

__all__ = ["AsyncClient", "Client"]

del _httpx
