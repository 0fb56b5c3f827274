"""Sockets to brokers that do not answer, and the clients that give up on them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError
from kafka.net.inet import KafkaNetSocket

from recsys.commands.demo.ports import free_port
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.connection import Connection
from streaming.log.kafka.direct_socket import DirectSocket
from tests.serving.waiting import until


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """All that the clients open."""
    opened: list[socket.socket] = []
    made = KafkaNetSocket.socket

    def recorded(self: Any, *how: int) -> socket.socket:
        opened.append(made(self, *how))
        return opened[-1]

    monkeypatch.setattr(KafkaNetSocket, "socket", recorded)
    return opened


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that accepts nobody and whose queue is full: who connects waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            yield f"127.0.0.1:{address[1]}"


def connecting(sock: socket.socket) -> bool:
    """It has an address of its own, and no peer yet."""
    try:
        sock.getpeername()
    except OSError:
        return sock.fileno() != -1 and sock.getsockname()[0] == "127.0.0.1"
    return False


def io_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("kafka-io")}


def test_a_client_that_gives_up_leaves_no_socket_and_no_thread(sockets: list[socket.socket]) -> None:
    before = io_threads()
    connection = Connection(KafkaAddress.parse(f"//127.0.0.1:{free_port()}/clicks?timeout=1"))
    for client in ("consumer", "producer"):
        with pytest.raises(KafkaTimeoutError):
            getattr(connection, client)
    connection.close()
    assert len(sockets) >= 2
    assert [sock for sock in sockets if sock.fileno() != -1] == []
    assert io_threads() == before


def test_a_client_that_is_closed_while_it_connects_leaves_no_socket(sockets: list[socket.socket], silent: str) -> None:
    """As when a broker has just died: what failed once was a socket that the closed client had left connecting."""
    connection = Connection(KafkaAddress.parse(f"//{silent}/clicks?timeout=30"))
    networks: list[Any] = []

    def make(**settings: Any) -> Any:
        network = settings.pop("kafka_client")

        def recorded(**given: Any) -> Any:
            networks.append(network(**given))
            return networks[-1]

        return KafkaAdminClient(kafka_client=recorded, **settings)

    def client() -> None:
        with pytest.raises(Exception, match=r"closed|stopped|Unable to bootstrap"):
            connection._client("admin", make)

    thread = threading.Thread(target=client)
    thread.start()
    until(lambda: any(map(connecting, sockets)))
    networks[0].close()
    thread.join()
    assert [sock for sock in sockets if sock.fileno() != -1] == []


@pytest.mark.parametrize("error", [ConnectionRefusedError(), KafkaTimeoutError()], ids=["refused", "late"])
def test_a_socket_is_closed_whatever_ends_its_connecting(error: Exception) -> None:
    class Network:
        async def wait_write(self, *_: Any, **__: Any) -> None:
            raise error

    direct, (ours, peer) = DirectSocket(), socket.socketpair()
    direct.connect_ex = lambda *_: 115  # in progress
    with peer, pytest.raises(type(error)):
        direct.sock_connect(Network(), ours, ("127.0.0.1", 1)).send(None)
    assert ours.fileno() == -1
