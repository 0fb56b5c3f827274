"""A `Recommender` and a process that was forked from its own."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys import Recommender
from recsys.errors import CheckpointError, StateError
from recsys.training.checkpoint.lock import exclusive
from serving.replication.embedded_redis import EmbeddedRedis
from tests.recsys.recommender.conftest import DRINKS, world

pytestmark = pytest.mark.slow


def forked(work: Callable[[], object]) -> str:
    """What `work` returned or raised in a forked child, which then ended as a program does; fails if it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = f"returned {work()!r}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, f"{os.getppid()} {said}".encode())
        os.close(writing)
        import weakref

        weakref.finalize._exitfunc()  # type: ignore[attr-defined]  # what the end of the interpreter does first
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 60)
    if not ready:
        os.kill(child, signal.SIGKILL)
    said = os.read(reading, 1 << 16).decode()
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert ready, "the child hangs"
    assert status == 0
    parent, _, outcome = said.partition(" ")
    assert int(parent) == os.getpid(), "nothing was forked"
    return outcome


def test_the_end_of_a_child_leaves_the_redis_of_its_parent(fitted: Recommender) -> None:
    before = [row.item for row in fitted.rank(0, list(DRINKS))]
    assert forked(fitted.close) == "returned None"
    assert [row.item for row in fitted.rank(0, list(DRINKS))] == before
    server = EmbeddedRedis(fitted.config.redis.folder)
    pid = server.pid
    assert forked(server.close) == "returned None"
    assert server.client().ping()
    assert server.pid == pid
    server.close()


@pytest.mark.parametrize("name", ["ingest", "fit", "rank", "recommend", "replay"])
def test_a_child_is_told_to_make_its_own(fitted: Recommender, name: str) -> None:
    work: dict[str, Callable[[], object]] = {
        "ingest": lambda: fitted.ingest(world(1)),
        "fit": fitted.fit,
        "rank": lambda: fitted.rank(0, list(DRINKS)),
        "recommend": lambda: fitted.recommend(0),
        "replay": lambda: fitted.replay(0.5),
    }
    said = forked(work[name])
    assert said.startswith(f"{StateError.__name__}: this recommender belongs to process {os.getpid()}")
    assert "make the Recommender in the process that uses it" in said


def test_a_child_neither_has_nor_keeps_the_lock_of_the_trainer(tmp_path: Path) -> None:
    waiting, release = os.pipe()
    with exclusive(tmp_path, ""):
        said = forked(lambda: exclusive(tmp_path, "").__enter__())
        assert said.startswith(CheckpointError.__name__)
        assert f"in use by process {os.getpid()}" in said
        child = os.fork()
        if child == 0:  # it lives on, with everything that it inherited
            os.read(waiting, 1)
            os._exit(0)
    try:
        with exclusive(tmp_path, ""):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child has ended"
    finally:
        os.write(release, b"x")
        os.waitpid(child, 0)
        os.close(waiting)
        os.close(release)
