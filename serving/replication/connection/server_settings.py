"""What a Redis is set to do when its memory is full, and with its data when it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import redis

from serving.replication.connection.cluster import ClusterClient
from serving.replication.connection.redis_client import RedisClient

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inspection:
    """One server, as its INFO says: unlike CONFIG, every provider allows that."""

    server: str
    """Such as Valkey 9.1.2."""
    policy: str
    """Its maxmemory-policy."""
    maxmemory: int
    """Bytes; 0 is no bound."""
    used: int
    appends: bool
    """Whether it writes an append-only file."""
    half_seen: bool = False
    """Whether it is a node of a cluster that the client takes for a server of its own."""
    address: str = ""
    """HOST:PORT of a node of a cluster."""

    def __str__(self) -> str:
        bound = f"of at most {self.maxmemory / 2**20:,.0f} MiB" if self.maxmemory else "without a bound"
        kept = "an append-only file" if self.appends else "no append-only file"
        where = f"{self.address}: " if self.address else ""
        return f"{where}{self.server}, {self.used / 2**20:,.0f} MiB {bound} used, {self.policy}, {kept}"

    @property
    def warning(self) -> str:
        """What would be lost or refused; empty if nothing.

        >>> Inspection("Redis 7", "allkeys-lru", 1 << 30, 0, False).warning[:44]
        'maxmemory-policy allkeys-lru lets Redis drop'
        """
        if self.half_seen:
            return (
                "this is a node of a cluster, which refuses the keys of other nodes, so that nothing is published: "
                "write [redis] url as redis+cluster://HOST:PORT"
            )
        if self.policy == "noeviction":
            return ""
        lost = "embedding rows, which then read as unknown ids" if "allkeys" in self.policy else "counters and leases"
        return (
            f"maxmemory-policy {self.policy} lets Redis drop {lost}, when its memory is full: set it to noeviction, "
            "with which writes wait for room instead"
        )


def inspect(client: RedisClient) -> list[Inspection]:
    """Each server with keys of the project. Raises redis.RedisError when one does not answer."""
    if isinstance(client, ClusterClient):
        return [_inspected(node, address) for address, node in client.nodes_by_address().items()]
    return [_inspected(node) for node in client.nodes()]


def warnings(found: Iterable[Inspection]) -> list[str]:
    """What is wrong with any of the servers, each once."""
    return [*dict.fromkeys(one.warning for one in found if one.warning)]


def warn(client: RedisClient) -> None:
    """Log what is wrong with the settings. A Redis that does not answer is left to its users to report."""
    try:
        for warning in warnings(inspect(client)):
            _logger.warning("%s", warning)
    except redis.RedisError as error:
        _logger.debug("not inspected: %s", error)


def _inspected(node: redis.Redis, address: str = "") -> Inspection:
    info = node.info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    return Inspection(
        f"{name} {info.get('valkey_version') or info.get('redis_version', '?')}",
        str(info.get("maxmemory_policy", "noeviction")),
        int(info.get("maxmemory", 0)),
        int(info.get("used_memory", 0)),
        bool(info.get("aof_enabled", 0)),
        half_seen=bool(info.get("cluster_enabled", 0)) and not address,
        address=address,
    )
