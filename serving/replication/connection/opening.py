"""From the URL of a Redis to a client of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from serving.replication.connection.cluster import ClusterClient, Topology
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import PROJECT, KeyNames
from serving.replication.redis_url import Kind, RedisUrl, parsed, with_secrets


def open_client(url: str, timeout: float, project: str = PROJECT) -> RedisClient:
    """A client, which connects when it is used.

    `timeout` (seconds) bounds every command. Commands are not retried: only the caller knows whether it can wait.
    Raises InvalidValueError for what is no URL, or names an environment variable that is not set.
    """
    where = parsed(with_secrets(url))
    return _OPENERS[where.kind](where, bounds(timeout), project)


def bounds(timeout: float) -> dict[str, Any]:
    """Options of every connection."""
    return {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}


def _server(where: RedisUrl, options: dict[str, Any], project: str) -> RedisClient:
    return named(cast(RedisClient, RedisClient.from_url(where.plain, **options)), project)


def _cluster(where: RedisUrl, options: dict[str, Any], project: str) -> RedisClient:
    chosen = parse_url(where.plain)  # type: ignore[no-untyped-call]
    own = {name: value for name, value in chosen.items() if name not in ("host", "port", "db")}
    return ClusterClient(Topology(where.hosts, own | options), project)


def _sentinel(where: RedisUrl, options: dict[str, Any], project: str) -> RedisClient:
    chosen = parse_url(where.plain)  # type: ignore[no-untyped-call]
    tls = chosen.pop("connection_class", None) is not None
    own = {name: value for name, value in chosen.items() if name not in ("host", "port")} | options
    sign_in = {name.removeprefix("sentinel_"): value for name, value in where.sentinel}
    signed = options | sign_in | ({"ssl": True} if tls else {})
    sentinels = _Sentinels(where.hosts, sentinel_kwargs=signed)  # type: ignore[no-untyped-call]
    master = sentinels.master_for(where.master, RedisClient, ssl=tls, **own)  # type: ignore[no-untyped-call]
    return named(cast(RedisClient, master), project)


class _Sentinels(Sentinel):
    """Says so where one of them is no Sentinel."""

    def discover_master(self, service_name: str) -> Any:
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if "unknown command" not in str(error):
                raise
            raise redis.ResponseError(
                "a host of redis+sentinel:// is a Redis, not a Sentinel: name the Sentinels, whose port is 26379 by "
                "default, or write the Redis itself as redis://HOST:PORT"
            ) from error


def named(client: RedisClient, project: str) -> RedisClient:
    """The client, of the keys of a project."""
    client.names = KeyNames(project)
    return client


_OPENERS: dict[Kind, Callable[[RedisUrl, dict[str, Any], str], RedisClient]] = {
    "server": _server,
    "cluster": _cluster,
    "sentinel": _sentinel,
}
