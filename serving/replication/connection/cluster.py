"""A Redis Cluster: which node has which slot, and a client that sends each command to the right one.

redis-py's RedisCluster is not used: it connects when it is made, sends what failed again one command at a time, which
would hold up a request for each of them, and raises errors outside `redis.RedisError`. Here every failure is a
`redis.ConnectionError`, after which the next command asks the cluster anew; callers know already what to do about one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain, count
from typing import Any

import redis
from redis.client import Pipeline
from redis.cluster import parse_cluster_slots
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, TryAgainError

from serving.replication.connection.redis_client import Add, Guard, RedisClient
from serving.replication.keys import KeyNames

SLOTS = 32
"""Slots over which a project spreads its keys, at equal distances: nodes with as many slots have as many keys."""
_ELSEWHERE = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""Replies of a node that does not have the slot, or not any more, or not yet. MovedError is an AskError."""

Address = tuple[str, int]


@cache
def tags() -> list[str]:
    """Hash tags, one about the middle of each of `SLOTS` equal ranges of slots.

    >>> [key_slot(tag.encode()) * SLOTS // REDIS_CLUSTER_HASH_SLOTS for tag in tags()] == list(range(SLOTS))
    True
    """
    width = REDIS_CLUSTER_HASH_SLOTS // SLOTS
    found: dict[int, str] = {}
    for number in count():
        place, behind = divmod(key_slot(str(number).encode()), width)
        if abs(behind - width // 2) < width // 16:
            found.setdefault(place, str(number))
        if len(found) == SLOTS:
            break
    return [found[place] for place in range(SLOTS)]


class Topology:
    """Which node has which slot, as one of the known nodes says; it is asked again after a failure. Thread-safe.

    `options` are those of redis-py's connections. Methods raise redis.ConnectionError if no node answers.
    """

    def __init__(self, seeds: Sequence[Address], options: Mapping[str, Any]) -> None:
        self._known, self._options = list(seeds), dict(options)
        self._class: type[redis.Connection] = self._options.pop("connection_class", redis.Connection)
        self._lock = threading.RLock()  # a connection that is collected while it is held asks for it again
        self._ranges: list[tuple[int, int, Address]] = []
        self._clients: dict[Address, redis.Redis] = {}

    def forget(self) -> None:
        """Ask again before the next use: a node has failed, or slots have moved."""
        with self._lock:
            self._ranges = []

    def address(self, slot: int) -> Address:
        """The node that has the slot."""
        for start, end, address in self._slots():
            if start <= slot <= end:
                return address
        self.forget()
        raise redis.ConnectionError(f"no node of the Redis cluster has slot {slot}")

    def addresses(self) -> list[Address]:
        """All nodes that have slots."""
        return sorted({address for _, _, address in self._slots()})

    def client(self, address: Address) -> redis.Redis:
        """A client of one node."""
        with self._lock:
            if address not in self._clients:
                self._clients[address] = redis.Redis(connection_pool=self.pool(lambda: address))
            return self._clients[address]

    def pool(self, address: Callable[[], Address]) -> redis.ConnectionPool:
        """Connections to the node that `address` names when one is made."""
        kind = _TlsNodeConnection if issubclass(self._class, redis.SSLConnection) else _NodeConnection
        return redis.ConnectionPool(kind, topology=self, address=address, **self._options)

    def close(self) -> None:
        for client in self._clients.values():
            client.connection_pool.disconnect()

    def _slots(self) -> list[tuple[int, int, Address]]:
        with self._lock:
            if not self._ranges:
                self._ranges = self._asked()
                self._known = [*dict.fromkeys([*(address for _, _, address in self._ranges), *self._known])]
            return self._ranges

    def _asked(self) -> list[tuple[int, int, Address]]:
        failures = []
        for host, port in self._known:
            options = self._options | {"host": host, "port": port}
            pool = redis.ConnectionPool(self._class, **options)
            try:
                reply = redis.Redis(connection_pool=pool).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
                known = parse_cluster_slots(reply, current_host=host)
                return [(start, end, nodes["primary"][:2]) for (start, end), nodes in known.items()]
            except redis.RedisError as error:
                failures.append(f"{host}:{port}: {error}")
            finally:
                pool.disconnect()
        raise redis.ConnectionError(f"no node of the Redis cluster answers: {'; '.join(failures)}")


class _NodeConnection(redis.Connection):
    """A connection to the node that `address` names when it is made. Whatever ends it makes the topology stale."""

    def __init__(self, *, topology: Topology, address: Callable[[], Address], **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._topology, self._address = topology, address

    def _connect(self) -> Any:
        self.host, self.port = self._address()
        try:
            return super()._connect()  # type: ignore[no-untyped-call]
        except OSError:
            self._topology.forget()
            raise

    def disconnect(self, *args: Any, **options: Any) -> None:
        self._topology.forget()
        super().disconnect(*args, **options)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except _ELSEWHERE as error:
            self.disconnect()
            raise redis.ConnectionError(f"the Redis cluster is changing: {error}") from error


class _TlsNodeConnection(_NodeConnection, redis.SSLConnection):
    """The same with TLS."""


class ClusterClient(RedisClient):
    """Of the node that has what belongs together, and of all nodes for what is spread."""

    def __init__(self, topology: Topology, project: str) -> None:
        self.names = KeyNames(project, tags())
        self._topology = topology
        home = key_slot(self.names.promotions.encode())
        super().__init__(connection_pool=topology.pool(lambda: topology.address(home)))
        self.auto_close_connection_pool = True

    def nodes(self) -> list[redis.Redis]:
        return list(self.nodes_by_address().values())

    def nodes_by_address(self) -> dict[str, redis.Redis]:
        """As `nodes`, by HOST:PORT."""
        return {f"{host}:{port}": self._topology.client((host, port)) for host, port in self._topology.addresses()}

    def by_slot(self, names: list[str], add: Add) -> list[Any]:
        slots: dict[int, list[str]] = defaultdict(list)
        for name in names:
            slots[key_slot(name.encode())].append(name)
        nodes: dict[Address, list[list[str]]] = defaultdict(list)
        for slot, group in slots.items():
            nodes[self._topology.address(slot)].append(group)
        replies: list[Any] = []
        for address, groups in nodes.items():
            with self._topology.client(address).pipeline(transaction=False) as pipe:
                for group in groups:
                    add(group, pipe)
                replies += pipe.execute()
        return replies

    def write(self, names: list[str], add: Add, guard: Guard) -> None:
        """The guard's commands run first, because they are of another slot."""
        guard.transaction(lambda _pipe: None)
        self.by_slot(names, add)

    def mget(self, keys: Any, *more: Any) -> Any:
        """Values in the order of the keys, each slot's at one moment."""
        names: list[str] = [*keys, *more]
        order: list[str] = []

        def add(group: list[str], pipe: Pipeline) -> None:
            order.extend(group)
            pipe.mget(group)

        replies = self.by_slot(names, add)
        values = dict(zip(order, chain.from_iterable(replies), strict=True))
        return [values[name] for name in names]

    def close(self) -> None:
        super().close()
        self._topology.close()
