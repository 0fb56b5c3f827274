"""A server whose log can have no more bytes: the kernel takes a part of what it writes, and then refuses.

The limit is that of the size of a process's files (RLIMIT_FSIZE), which anybody may set; a full file system refuses in
the same way, with another number. It is set while the server runs, and taken away.
"""

from __future__ import annotations

import resource
from pathlib import Path

import httpx
import pytest

from streaming.events.schema import Impression, Interaction
from tests.faults.test_serving import Server, folder, options, server  # noqa: F401

pytestmark = pytest.mark.slow

ROOM = 100
"""Bytes, less than an event takes."""


def segment(server: Server) -> Path:  # noqa: F811
    (found,) = server.log.glob("0/*.segment")
    return found


def limit(server: Server, size: int) -> None:  # noqa: F811
    """Let no file of the server become longer."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def click(server: Server, impression: str, name: str) -> httpx.Response:  # noqa: F811
    event = {"type": "interaction", "time": 2, "impression": impression, "item": "a", "id": name}
    return server.http.post("/v1/events", json=event)


@pytest.mark.parametrize("options", [("60000", "durable")], ids=["durable"])
def test_what_a_full_disk_refuses_is_not_acknowledged_and_nothing_else_is_lost(server: Server) -> None:  # noqa: F811
    shown = server.rank()
    assert shown["degraded"] == []
    assert click(server, shown["impression"], "before").json()["accepted"] == 1
    whole = segment(server).read_bytes()
    limit(server, len(whole) + ROOM)
    for _ in range(2):
        refused = click(server, shown["impression"], "while full")
        assert refused.status_code == 503, "the disk was not full"
        assert "File too large" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) > 0
    unlogged = server.rank("somebody else")
    assert unlogged["degraded"] == ["log"]
    assert len(unlogged["items"]) == 3
    assert segment(server).read_bytes() == whole, "what was written in part is cut off"

    limit(server, resource.RLIM_INFINITY)
    assert click(server, shown["impression"], "while full").json()["accepted"] == 1
    assert click(server, shown["impression"], "before").json()["duplicate"] == 1
    assert server.rank("a third")["degraded"] == []
    stored = server.stored()
    assert [event.id for event in stored if isinstance(event, Interaction)] == ["before", "while full"]
    assert [event.user for event in stored if isinstance(event, Impression)] == ["u", "a third"]
