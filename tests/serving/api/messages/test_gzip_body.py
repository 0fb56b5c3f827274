"""Packed bodies, by themselves and through a real server."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.messages.gzip_body import GzipBody
from serving.api.messages.request_errors import BadRequestError, TooLargeError
from tests.serving.api.asking import Start, ready

PACKED = {"Content-Encoding": "gzip"}


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.integers(1, 30))
def test_members_in_parts_are_what_was_packed(members: list[bytes], size: int) -> None:
    packed, whole = b"".join(map(gzip.compress, members)), b"".join(members)
    body = GzipBody(len(whole))
    assert b"".join(body.read(packed[n : n + size]) for n in range(0, len(packed), size)) == whole
    body.end()
    if whole:
        with pytest.raises(TooLargeError, match=f"than {len(whole) - 1} bytes when"):
            GzipBody(len(whole) - 1).read(packed)


def test_little_that_unpacks_to_much_is_refused_before_it_does() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 17
    with pytest.raises(TooLargeError):
        GzipBody(1000).read(bomb)


def test_the_work_of_many_tiny_members_grows_as_their_number_does(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    class Counted:
        def __init__(self, kind: int) -> None:
            self._member = zlib_member(kind)

        def decompress(self, packed: bytes, most: int) -> bytes:
            given.append(len(packed))
            return self._member.decompress(packed, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._member, name)

    zlib_member = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    work = []
    for members in (2000, 4000):
        given.clear()
        GzipBody(10).read(gzip.compress(b"") * members)
        assert len(given) >= members
        work.append(sum(given))
    assert work[1] < 2.1 * work[0]


def test_what_is_no_gzip_or_not_whole_is_refused() -> None:
    with pytest.raises(BadRequestError, match="not gzip"):
        GzipBody(100).read(b'{"user": "u"}')
    body = GzipBody(100)
    body.read(gzip.compress(b"abc")[:-1])
    with pytest.raises(BadRequestError, match="too early"):
        body.end()
    with pytest.raises(BadRequestError, match="too early"):
        GzipBody(100).end()


def test_a_server_reads_and_sends_packed_bodies(start: Start, publish: Any) -> None:
    publish({"a": 0.1})
    app = ready(start(max_body=100_000))
    event = b'{"type": "item", "time": 1, "item": "a"}'
    assert app.post("/v1/events", content=gzip.compress(event), headers=PACKED).json()["accepted"] == 1
    assert app.post("/v1/events", content=event, headers=PACKED).status_code == 400
    assert app.post("/v1/events", content=gzip.compress(bytes(100_001)), headers=PACKED).status_code == 413
    again = app.post("/v1/events", content=event, headers={"Content-Encoding": ""})
    assert again.json()["duplicate"] == 1
    refused = app.post("/v1/events", content=event, headers={"Content-Encoding": "br"})
    assert (refused.status_code, "gzip" in refused.json()["error"]["message"]) == (415, True)
    asked = {"user": "u", "items": [f"item {n}" for n in range(500)]}
    answers = [app.post("/v1/rank", json=asked, headers={"Accept-Encoding": coding}) for coding in ("gzip", "identity")]
    assert [answer.headers.get("content-encoding") for answer in answers] == ["gzip", None]
    assert int(answers[0].headers["content-length"]) < int(answers[1].headers["content-length"]) / 6
    assert len(answers[0].json()["items"]) == 500
