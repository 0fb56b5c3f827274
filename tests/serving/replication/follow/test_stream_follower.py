from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import RedisServerError
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis, connect, stop
from serving.replication.follow.stream_follower import StreamFollower
from serving.replication.health import Availability
from tests.serving.waiting import until


class Notebook:
    """A sink that notes what it is told."""

    stream = "test:stream"

    def __init__(self) -> None:
        self.continued: list[bool] = []
        self.messages: list[bytes] = []

    def catch_up(self, client: RedisClient, *, continued: bool) -> None:
        self.continued.append(continued)

    def take(self, client: RedisClient, message: bytes) -> None:
        self.messages.append(message)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path) as made:
        yield made


@pytest.fixture
def follow(tmp_path: Path, notebook: Notebook) -> Iterator[Callable[..., Availability]]:
    with ExitStack() as stack:

        def start(**options: Any) -> Availability:
            availability = Availability(up=False)
            follower = StreamFollower(partial(connect, "", tmp_path), [notebook], availability, **options)
            follower.start()
            stack.callback(follower.close)
            return availability

        yield start


def add(server: EmbeddedRedis, *messages: bytes) -> None:
    with server.client() as client:
        for message in messages:
            client.xadd(Notebook.stream, {"m": message})


def test_messages_come_once_and_in_order(
    server: EmbeddedRedis, notebook: Notebook, follow: Callable[..., None]
) -> None:
    add(server, b"before the start: caught up with otherwise")
    follow()
    until(lambda: notebook.continued)
    many = [b"%d" % i for i in range(500)]
    add(server, *many)
    until(lambda: len(notebook.messages) >= 500)
    assert notebook.messages == many
    assert notebook.continued == [False]


def test_after_a_lost_connection_it_goes_on_where_it_was(
    server: EmbeddedRedis, notebook: Notebook, follow: Callable[..., None]
) -> None:
    follow()
    until(lambda: notebook.continued)
    add(server, b"1")
    until(lambda: notebook.messages == [b"1"])
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
        add(server, b"2")
    until(lambda: notebook.messages == [b"1", b"2"])
    assert notebook.continued == [False, True]


def test_a_stream_trimmed_meanwhile_is_not_continued(
    server: EmbeddedRedis, notebook: Notebook, follow: Callable[..., None]
) -> None:
    follow()
    until(lambda: notebook.continued)
    add(server, b"1")
    until(lambda: notebook.messages == [b"1"])
    with server.client() as client, client.pipeline(transaction=True) as pipe:
        pipe.xadd(Notebook.stream, {"m": b"never read"})
        pipe.xadd(Notebook.stream, {"m": b"the last"}, maxlen=1, approximate=False)
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.execute()
    until(lambda: len(notebook.continued) == 2)
    assert notebook.continued == [False, False]
    assert notebook.messages == [b"1"]


def test_it_waits_for_a_redis_that_is_not_there_and_says_so(
    tmp_path: Path, notebook: Notebook, follow: Callable[..., Availability]
) -> None:
    refused: list[str] = []

    def revive() -> None:
        refused.append("no")
        if len(refused) < 3:
            raise RedisServerError("no Redis server found")

    availability = follow(revive=revive)
    until(lambda: len(refused) >= 3)
    assert not availability.up
    assert notebook.continued == []
    with EmbeddedRedis(tmp_path):
        until(lambda: availability.up and notebook.continued)
        assert notebook.continued == [False]
        assert stop(tmp_path)
        until(lambda: not availability.up)


def test_what_is_refreshed_is_refreshed_at_once(
    server: EmbeddedRedis, notebook: Notebook, follow: Callable[..., None]
) -> None:
    refreshed: list[bool] = []
    follow(refresh=lambda client: refreshed.append(client.ping()))
    until(lambda: refreshed == [True])
