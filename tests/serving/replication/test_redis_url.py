"""Passwords of Redis are named in its URL, and found in the environment by a real server's clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from recsys.errors import InvalidValueError
from serving.replication.embedded_redis import connect
from serving.replication.redis_url import checked, with_secrets
from tests.serving.protected_redis import protected_redis


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/0",
        "rediss://h",
        "unix:///run/r.sock?password=env:P&db=2",
        "redis://h/2?db=2",
        "redis+cluster://h:1,h:2",
        "rediss+cluster://h/0?username=u&password=env:P",
        "redis+sentinel://h,[::1]:26380/shop/2?sentinel_password=env:S",
    ],
)
def test_urls_of_redis_are_taken(url: str) -> None:
    assert checked(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "write redis://HOST:PORT/0"),
        ("redis://:hunter2@h/0", r"\?username=NAME&password=env:VARIABLE"),
        ("redis://h/0?password=hunter2", "write env:NAME"),
        ("redis://h/shop", "'shop' is no database of Redis: databases are numbers"),
        ("redis://h/1/2", "'1/2' is no database"),
        ("unix:///run/r.sock?db=shop", "Invalid value for 'db'"),
        ("unix:///run/r.sock?database=1", "argument 'database'"),
        ("redis://h:99999/0", "Port out of range"),
        ("redis://h/2?db=3", "several databases, 2 and 3"),
        ("unix:///run/r.sock?db=1&db=2", "several databases"),
        ("redis+cluster://h/1", "a cluster of Redis has database 0 only"),
        ("redis+cluster://h?db=1", "a cluster of Redis has database 0 only"),
        ("redis+cluster://h,,g", "a host is empty"),
        ("redis+sentinel://h:26379", "name the master behind the Sentinels"),
        ("redis+sentinel://h/shop?sentinel_password=hunter2", "write env:NAME"),
        ("redis+ring://h", r"redis\+sentinel://HOST"),
        ("unix+cluster:///run/r.sock", r"redis\+cluster://HOST"),
    ],
)
def test_others_are_refused_without_showing_the_password(url: str, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said) as raised:
        checked(url)
    assert "hunter2" not in str(raised.value)


def test_any_password_survives_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "a&b=c/?% ü")
    options = redis.Redis.from_url(with_secrets("redis://h:7/3?password=env:SECRET")).get_connection_kwargs()
    assert (options["password"], options["host"], options["port"], options["db"]) == ("a&b=c/?% ü", "h", 7, 3)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET", raising=False)
    with pytest.raises(InvalidValueError, match="variable SECRET, which is not set"):
        with_secrets("redis://h?password=env:SECRET")


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[int]:
    """The port of a server that wants the password `sesame`."""
    with protected_redis(tmp_path, "sesame") as port:
        yield port


def test_a_server_with_a_password(protected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(f"redis://127.0.0.1:{protected}/0") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    monkeypatch.setenv("SECRET", "sesame")
    with connect(f"redis://127.0.0.1:{protected}/0?password=env:SECRET") as client:
        assert client.ping()


@pytest.mark.parametrize("query", ["", "?password=env:SECRET&db=2"])
def test_a_socket_is_found(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3")
    options = redis.Redis.from_url(with_secrets(f"unix:///run/r.sock{query}")).get_connection_kwargs()
    assert (options["path"], options.get("password")) == ("/run/r.sock", "s3" if query else None)
