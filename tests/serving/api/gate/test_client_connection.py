"""Clients that are slow, send too much or are too many, over raw connections to a real server."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle

import httpx
import pytest

from serving.process_settings import Settings
from tests.serving.api.asking import Start, figures
from tests.serving.waiting import until

Open = Callable[[httpx.Client], socket.socket]
Refusals = dict[str, float]

GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
RANK = json.dumps({"user": "u", "items": ["a", "b"]}).encode()


def post(length: int, *more: str) -> bytes:
    lines = ["POST /v1/rank HTTP/1.1", "Host: x", f"Content-Length: {length}", *more]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


@pytest.fixture
def connect() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(
            socket.create_connection((app.base_url.host, app.base_url.port or 0), timeout=120)
        )


def until_closed(connection: socket.socket) -> bytes:
    """All that the server still says; a reset ends it, too."""
    found = b""
    while True:
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = connection.recv(1)
        assert part, f"closed after {found!r}"
        found += part
    length = int(found.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        part = connection.recv(length - len(body))
        assert part, f"closed after {body!r}"
        body += part
    return int(found.split()[1]), body


def trickled(connection: socket.socket, endless: Iterator[bytes]) -> bytes:
    """What the server says to a client that sends on and on in single bytes, until it closes."""
    for sent in endless:
        readable, _, _ = select.select([connection], [], [], 0.005)
        if readable:
            break
        connection.sendall(sent)
    return until_closed(connection)


def refused(app: httpx.Client) -> Refusals:
    found = figures(app)
    return {reason: found[f'recsys_refused_total{{reason="{reason}"}}'] for reason in ("connections", "slow", "header")}


class TestTooSlow:
    def test_a_header_that_never_ends(self, start: Start, connect: Open) -> None:
        app = start(header_timeout=1500)
        slow = connect(app)
        slow.sendall(HALF)
        said = trickled(slow, cycle([b"a"]))
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"the header was not complete after 1.5 s" in said
        assert refused(app)["slow"] == 1

    def test_empty_lines_before_a_request_bring_no_time(self, start: Start, connect: Open) -> None:
        app = start(header_timeout=1500)
        assert trickled(connect(app), cycle([b"\r", b"\n"])) == b""

    def test_a_body_that_never_ends(self, start: Start, connect: Open) -> None:
        app = start(body_timeout=200)
        slow = connect(app)
        slow.sendall(post(1000))
        said = trickled(slow, cycle([b" "]))
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"the body was not complete" in said
        assert refused(app)["slow"] == 1
        gone = 'recsys_requests_total{route="/v1/rank",status="499"}'
        assert until(lambda: figures(app).get(gone)) == 1, "counted when its handler learns of it, after the answer"

    def test_a_body_that_was_answered_already(self, start: Start, connect: Open) -> None:
        """Nobody reads it, but the connection is not held open by it."""
        app = start(body_timeout=200, max_body=2000)
        slow = connect(app)
        slow.sendall(post(10_000))
        assert answer(slow)[0] == 413
        assert trickled(slow, cycle([b" "])) == b""
        assert refused(app)["slow"] == 1

    def test_who_says_nothing(self, start: Start, connect: Open) -> None:
        app = start(header_timeout=1500)
        assert until_closed(connect(app)) == b""

    def test_who_reads_nothing(self, start: Start, connect: Open) -> None:
        app = start(body_timeout=300)
        deaf = connect(app)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = figures(app)["recsys_connections"]
        deaf.sendall(1_000 * b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: figures(app)["recsys_connections"] < before)

    def test_two_hundred_at_once_hinder_nobody(self, start: Start, connect: Open) -> None:
        app = start(max_connections=100)
        slow = [connect(app) for _ in range(200)]
        for one in slow:
            try:
                one.sendall(HALF)
            except OSError:  # gave way already
                continue
        good = connect(app)
        good.sendall(post(len(RANK)) + RANK)
        assert answer(good)[0] == 200
        assert refused(app)["connections"] >= 101
        assert figures(app)["recsys_connections"] <= 100
        readable, _, _ = select.select(slow, [], [], 0)
        assert 0 < len(slow) - len(readable) < 100, "the latest are still waited for"


class TestHonest:
    def test_a_header_in_single_bytes(self, start: Start, connect: Open) -> None:
        one = connect(start())
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(GOOD)):
            one.sendall(GOOD[at : at + 1])
        assert answer(one) == (200, b"ok\n")

    def test_a_body_of_a_megabyte_in_steps(self, start: Start, connect: Open) -> None:
        asked = json.dumps({"user": "u", "items": ["a"], "features": {"text": "x" * 1_000_000}}).encode()
        app = start()
        one = connect(app)
        one.sendall(post(len(asked)))
        for at in range(0, len(asked), 50_000):
            one.sendall(asked[at : at + 50_000])
            app.get("/healthz")  # the server gets on with others meanwhile
        assert answer(one)[0] == 200

    @pytest.mark.parametrize("step", [1, 7, 10_000])
    def test_chunks(self, start: Start, connect: Open, step: int) -> None:
        one = connect(start())
        head = post(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        parts = [RANK[at : at + step] for at in range(0, len(RANK), step)]
        one.sendall(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""]))
        assert answer(one)[0] == 200

    def test_requests_one_after_the_other(self, start: Start, connect: Open) -> None:
        one = connect(start())
        for _ in range(3):
            one.sendall(post(len(RANK)) + RANK)
            assert answer(one)[0] == 200

    def test_requests_that_come_together(self, start: Start, connect: Open) -> None:
        app = start()
        one = connect(app)
        one.sendall(20 * (post(len(RANK)) + RANK + GOOD) + HALF)
        assert [answer(one)[0] for _ in range(40)] == 40 * [200]
        one.sendall(b"fast\r\n\r\n")
        assert answer(one) == (200, b"ok\n")

    def test_a_client_that_asks_before_it_sends(self, start: Start, connect: Open) -> None:
        one = connect(start())
        one.sendall(post(len(RANK), "Expect: 100-continue"))
        assert one.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(RANK)
        assert answer(one)[0] == 200

    def test_http_1_0(self, start: Start, connect: Open) -> None:
        one = connect(start())
        one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert until_closed(one).endswith(b"\r\n\r\nok\n")

    def test_an_upgrade_that_nobody_offers(self, start: Start, connect: Open) -> None:
        one = connect(start())
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert answer(one) == (200, b"ok\n")


class TestTooMuch:
    @pytest.mark.parametrize("head", [b"X-Large: " + 200_000 * b"a", 20_000 * b"X-Many: a\r\n", b"X-" + 200_000 * b"a"])
    def test_a_header_of_200_kilobytes(self, start: Start, connect: Open, head: bytes) -> None:
        app = start()
        large = connect(app)
        large.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        said = until_closed(large)
        assert said.startswith(b"HTTP/1.1 431 ")
        assert b"the header is larger than 16384 bytes" in said
        assert refused(app)["header"] == 1

    def test_a_header_just_within(self, start: Start, connect: Open) -> None:
        one = connect(start(max_header=4096))
        for length, status in ((3900, 200), (4100, 431)):
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n\r\n" % (length * b"a"))
            assert answer(one)[0] == status

    def test_an_address_of_200_kilobytes(self, start: Start, connect: Open) -> None:
        large = connect(start())
        large.sendall(b"GET /" + 200_000 * b"a")
        assert until_closed(large).startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize("rest", [b"1;" + 200_000 * b"a", b"0\r\nX-Trailer: " + 200_000 * b"a"])
    def test_what_stands_around_chunks(self, start: Start, connect: Open, rest: bytes) -> None:
        app = start()
        large = connect(app)
        head = post(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        large.sendall(head + rest)
        assert until_closed(large).startswith(b"HTTP/1.1 431 ")
        assert refused(app)["header"] == 1

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body(self, start: Start, connect: Open, chunked: bool) -> None:
        app = start(max_body=2000)
        content = iter([3000 * b" "]) if chunked else 3000 * b" "
        assert app.post("/v1/rank", content=content).status_code == 413

    def test_what_is_no_http_behind_a_request(self, start: Start, connect: Open) -> None:
        app = start()
        one = connect(app)
        one.sendall(GOOD + b"\x16\x03\x01 no\r\n\r\n")
        assert until_closed(one).endswith(b"\r\n\r\nok\n"), "the first is answered, and nothing is said in its place"
        assert figures(app)['recsys_refused_total{reason="malformed"}'] == 1


class TestTooMany:
    def test_who_has_waited_longest_gives_way(self, start: Start, connect: Open) -> None:
        app = start(max_connections=3)
        app.get("/healthz")
        first, second = connect(app), connect(app)
        until(lambda: figures(app)["recsys_connections"] == 3)
        third = connect(app)
        assert until_closed(first) == b""
        for one in (second, third):
            one.sendall(GOOD)
            assert answer(one)[0] == 200
        assert refused(app)["connections"] == 1


def test_defaults_leave_room_for_open_files() -> None:
    assert Settings().max_connections <= 1024 // 2
