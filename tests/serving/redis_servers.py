"""Real Redis servers on loopback: one, a cluster with replicas, a master behind Sentinels."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from recsys.commands.demo.ports import free_ports
from serving.replication.embedded_redis import executable
from tests.serving.waiting import until

NODE_TIMEOUT = 1500
"""Milliseconds without an answer after which a node is taken for dead."""


@dataclass
class RedisProcess:
    """A server that was started here."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=60)

    def info(self, name: str) -> Any:
        with self.client as client:
            return client.info()[name]

    def kill(self) -> None:
        """As kill -9."""
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(folder: Path, port: int, *options: str, sentinel: str = "") -> Iterator[RedisProcess]:
    """A server on a port of 127.0.0.1; a Sentinel with that configuration if there is one."""
    home = folder / str(port)
    home.mkdir(parents=True, exist_ok=True)
    command = [executable()]
    if sentinel:
        (home / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\n{sentinel}")
        command += [str(home / "sentinel.conf"), "--sentinel"]
    else:
        command += ["--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    with open(home / "log", "w") as log, subprocess.Popen(command, cwd=home, stdout=log) as process:
        server = RedisProcess(port, process)
        try:
            until(lambda: _answers(server))
            yield server
        finally:
            process.kill()


def _answers(server: RedisProcess) -> bool:
    try:
        with server.client as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


@dataclass
class Cluster:
    nodes: list[RedisProcess]
    """Three masters, then their replicas."""

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def flush(self) -> None:
        """FLUSHALL of every master."""
        for node in self.nodes:
            if node.process.poll() is None and node.info("role") == "master":
                with node.client as client:
                    client.flushall()


@contextmanager
def redis_cluster(folder: Path, replicas: int = 0) -> Iterator[Cluster]:
    """Three masters, of which so many have a replica."""
    ports = free_ports(2 * (3 + replicas))
    with ExitStack() as stack:
        nodes = []
        for port, bus in zip(ports[::2], ports[1::2], strict=True):
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            more = ("--cluster-node-timeout", str(NODE_TIMEOUT), "--repl-diskless-sync-delay", "0")
            nodes.append(stack.enter_context(redis_server(folder, port, *options, *more)))
        for number, node in enumerate(nodes[:3]):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            _ask(node, f"CLUSTER ADDSLOTSRANGE {first} {last}")
        for node, bus in zip(nodes[1:], ports[3::2], strict=True):
            _ask(nodes[0], f"CLUSTER MEET 127.0.0.1 {node.port} {bus}")
        until(lambda: all(_ask(node, "CLUSTER INFO")["cluster_known_nodes"] == str(len(nodes)) for node in nodes))
        for master, replica in zip(nodes, nodes[3:], strict=False):
            name = _ask(master, "CLUSTER MYID").decode()
            until(lambda replica=replica, name=name: _replicates(replica, name))  # type: ignore[misc]
        until(lambda: all(_ask(node, "CLUSTER INFO")["cluster_state"] == "ok" for node in nodes))
        until(lambda: all(node.info("master_link_status") == "up" for node in nodes[3:]))
        yield Cluster(nodes)


def _ask(node: RedisProcess, command: str) -> Any:
    words = command.split()
    with node.client as client:
        return client.execute_command(" ".join(words[:2]), *words[2:])


def _replicates(node: RedisProcess, master: str) -> bool:
    """Whether it does now; until it has heard of the master it refuses."""
    try:
        return bool(_ask(node, f"CLUSTER REPLICATE {master}"))
    except redis.ResponseError:
        return False


@dataclass
class Replicated:
    """A master and its replica, watched by a Sentinel."""

    master: RedisProcess
    replica: RedisProcess
    sentinel: RedisProcess

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/shop"

    def flush(self) -> None:
        for node in (self.master, self.replica):
            if node.process.poll() is None and node.info("role") == "master":
                with node.client as client:
                    client.flushall()


@contextmanager
def replicated_redis(folder: Path) -> Iterator[Replicated]:
    """A master that Sentinel knows as `shop`."""
    ports = free_ports(3)
    watch = (
        f"sentinel monitor shop 127.0.0.1 {ports[0]} 1\n"
        f"sentinel down-after-milliseconds shop {NODE_TIMEOUT}\nsentinel failover-timeout shop 10000\n"
    )
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(folder, ports[0], "--repl-diskless-sync-delay", "0"))
        replica = stack.enter_context(redis_server(folder, ports[1], "--replicaof", "127.0.0.1", str(ports[0])))
        until(lambda: replica.info("master_link_status") == "up")
        sentinel = stack.enter_context(redis_server(folder, ports[2], sentinel=watch))
        until(lambda: _knows_replica(sentinel))
        yield Replicated(master, replica, sentinel)


def _knows_replica(sentinel: RedisProcess) -> bool:
    with sentinel.client as client:
        return bool(client.sentinel_slaves("shop"))
