"""Both clients, against a real server."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from recsys.client import AsyncClient, Client
from recsys.client.retries import Retries
from recsys.errors import InvalidValueError, UnavailableError
from serving.api.messages.request_errors import (
    ApiError,
    ForbiddenError,
    InvalidFieldError,
    NoKeyError,
    NotStoredError,
    OverloadedError,
)
from serving.api.messages.schemas import RankResponse
from serving.api_key import new_key
from serving.assembly import build
from serving.process_settings import Settings
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.events.schema import Erasure, Impression, Interaction, ItemUpdate, UserUpdate
from tests.serving.api.asking import FailingLog, ready, stored
from tests.serving.fakes import SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until
from tests.test_docs import ROOT

KINDS = ("sync", "async")


class Asking:
    """A client of either kind, asked in the same way."""

    def __init__(self, kind: str, url: str, *options: Any, **more: Any) -> None:
        self._new = Client if kind == "sync" else AsyncClient
        self._arguments = (url, *options), more

    def __getattr__(self, name: str) -> Callable[..., Any]:
        arguments, options = self._arguments

        def ask(*values: Any, **named: Any) -> Any:
            if self._new is Client:
                with Client(*arguments, **options) as client:
                    return getattr(client, name)(*values, **named)

            async def asked() -> Any:
                async with AsyncClient(*arguments, **options) as client:
                    return await getattr(client, name)(*values, **named)

            return asyncio.run(asked())

        return ask


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def log() -> FailingLog:
    return FailingLog()


@pytest.fixture(scope="module")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a Redis with a model and a catalogue."""
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server, server.client() as client:
        scores, publisher = {"a": 0.1, "b": 0.4}, Publisher(client, "online")
        items, _ = Encoder(SPEC).encode_items(list(scores), [{}] * 2)
        publisher.publish(Delta(1, True, {"item": TableDelta(items["item"].values, rows(*scores.values()), ids())}))
        publisher.publish_artefact(artefact())
        publisher.publish_catalog([("a", 3.0), ("b", 2.0)], [])
        yield folder


@pytest.fixture(scope="module")
def url(redis_folder: Path, log: FailingLog) -> Iterator[str]:
    with running(build(Settings(redis_folder=redis_folder, deadline=60_000), log, Graphs())) as app:
        yield str(ready(app).base_url)


def test_rank_interact_and_recommend(kind: str, url: str, log: FailingLog) -> None:
    client = Asking(kind, url)
    assert client.ready()
    shown: RankResponse = client.rank("u1", ["a", "b"], features={"age": np.float64(3)}, count=1)
    assert [one.item for one in shown.items] == ["b"]
    assert client.interact(shown, "b", "buy", value=9.5).accepted == 1
    assert client.interact(shown.impression, "b").ignored_actions == {}
    assert [one.item for one in client.recommend("u1", count=2, exclude=["a"]).items] == ["b"]
    impression, *clicks = [
        event
        for event in until(lambda: stored(log))
        if shown.impression in (getattr(event, "id", ""), getattr(event, "impression", ""))
    ]
    assert isinstance(impression, Impression)
    assert impression.features == {"age": 3.0}
    assert [(one.action, one.value) for one in clicks if isinstance(one, Interaction)] == [("buy", 9.5), ("click", 1.0)]


def test_a_list_is_made_now_and_shown_later(kind: str, url: str, log: FailingLog) -> None:
    client, later = Asking(kind, url), 1_700_000_000_000
    one = client.rank(f"{kind}-kept", ["a", "b"], features={"age": 3.0}, log=False)
    (kept,) = client.recommend_batch([f"{kind}-mail"], log=False, count=1)
    assert kept.error is None
    assert client.show(kept.answer, at=later).accepted == client.show(one).accepted == 1
    assert client.show(kept.answer, at=later).duplicate == 1
    impressions = {event.user: event for event in stored(log) if isinstance(event, Impression)}
    shown = impressions[f"{kind}-mail"]
    assert (shown.id, shown.time, shown.model) == (kept.answer.impression, later, kept.answer.model)
    assert shown.propensities == [item.propensity for item in kept.answer.items]
    assert impressions[f"{kind}-kept"].features == {"age": 3.0}
    with pytest.raises(InvalidValueError, match="whole ms since 1970"):
        client.show(kept.answer, at="2026-01-01T00:00:00Z")
    with pytest.raises(InvalidValueError, match="log=False"):
        client.show(client.rank("u1", ["a"]))
    (refused,) = client.recommend_batch(["ada"], experiment="unknown")
    assert (refused.answer, refused.error.field) == (None, "experiment")
    with pytest.raises(InvalidFieldError, match="length"):
        client.recommend_batch(["ada", "u" * 600])
    with pytest.raises(InvalidValueError, match="users is 'ada'"):
        client.recommend_batch("ada")


def test_events_of_both_forms(kind: str, url: str) -> None:
    item = f"{kind}-item"
    events = [ItemUpdate(5, item, {"genre": "news"}), {"type": "item", "time": 6, "item": item, "available": False}]
    answer = Asking(kind, url).send([*events, {"type": "item", "time": 7}])
    assert (answer.accepted, answer.rejected) == (2, 1)
    assert answer.results[2].field == "item"
    assert Asking(kind, url).send(events).duplicate == 2
    assert Asking(kind, url).send([{"type": "item", "time": 7}]).rejected == 1  # all of them


def test_what_is_refused_is_an_error_with_its_field(kind: str, url: str) -> None:
    client = Asking(kind, url)
    with pytest.raises(InvalidFieldError, match="length") as caught:
        client.rank("u" * 600, ["a"])
    assert caught.value.detail.field == "user"
    with pytest.raises(InvalidFieldError) as caught:
        client.rank("u", ["a"], explain=True)
    assert caught.value.detail.field == "explain", "this model is no autoint"
    with pytest.raises(InvalidFieldError) as caught:
        client.interact("", "a")
    assert caught.value.detail.field == "impression"
    with pytest.raises(InvalidValueError, match="no events"):
        client.send([])
    with pytest.raises(InvalidValueError, match="JSON"):
        client.rank("u", ["a"], features={"x": object()})
    with pytest.raises(InvalidValueError, match="http://"):
        Asking(kind, "127.0.0.1:8000").ready()


def test_a_user_is_forgotten(kind: str, url: str, log: FailingLog) -> None:
    user = f"{kind} / user"
    assert Asking(kind, url).send([UserUpdate(5, user, {"age": 3})]).accepted == 1
    assert Asking(kind, url).forget(user) == 1  # a log in memory is not rewritten
    assert any(isinstance(event, Erasure) and event.user == user for event in stored(log))


def test_events_that_could_not_be_stored_are_sent_again(kind: str, url: str, log: FailingLog) -> None:
    log.refuse = True
    tried = 0

    def draw() -> float:
        """Of the pause before another attempt."""
        nonlocal tried
        tried += 1
        log.refuse = tried < 2
        return 0.0

    event = ItemUpdate(8, f"{kind}-late")
    with pytest.raises(NotStoredError):
        Asking(kind, url, retries=Retries(most=0)).send([event])
    assert Asking(kind, url, retries=Retries(draw=draw)).send([event]).accepted == 1
    assert tried == 2


@pytest.mark.parametrize("scopes", [["rank"], ["events"]])
def test_keys(kind: str, redis_folder: Path, scopes: list[Any]) -> None:
    secret, key = new_key("app", scopes)
    with running(build(Settings(redis_folder=redis_folder, api_keys=[key]), FailingLog(), Graphs())) as app:
        url = str(app.base_url)
        with pytest.raises(NoKeyError):
            Asking(kind, url).rank("u", ["a"])
        asked = Asking(kind, url, secret)
        if scopes == ["rank"]:
            assert asked.rank("u", ["a"]).items
            with pytest.raises(ForbiddenError):
                asked.send([ItemUpdate(8, "x")])
        else:
            assert asked.send([ItemUpdate(8, "x")]).accepted == 1


class Answers:
    """Answers in turn, as a server or a broken connection would; remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers, self.bodies = list(answers), list[bytes]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.content)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


RANKED = msgspec.json.encode(RankResponse("i1", [], "", "", "", []))
STORED = b'{"accepted":1,"duplicate":0,"rejected":0,"results":[]}'


def busy() -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": "1"}, json={"error": {"field": "", "message": "too many"}})


def asking(kind: str, *answers: httpx.Response | Exception, **options: Any) -> tuple[Asking, Answers]:
    queue = Answers(*answers)
    retries = Retries(pause=0.0, longest=options.get("longest", 1.0))
    return Asking(kind, "http://x", retries=retries, transport=httpx.MockTransport(queue)), queue


def test_a_request_that_did_not_arrive_is_sent_again(kind: str) -> None:
    client, asked = asking(
        kind, httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.Response(200, content=RANKED)
    )
    assert client.rank("u", ["a"]).impression == "i1"
    assert len(asked.bodies) == 3


def test_a_ranking_whose_answer_got_lost_is_not_asked_for_again(kind: str) -> None:
    client, asked = asking(kind, httpx.ReadTimeout("slow"))
    with pytest.raises(UnavailableError, match="http://x/ does not answer: slow"):
        client.rank("u", ["a"])
    assert len(asked.bodies) == 1


def test_events_whose_answer_got_lost_are_sent_again_with_the_same_content(kind: str) -> None:
    client, asked = asking(kind, httpx.ReadTimeout("slow"), httpx.Response(504), httpx.Response(200, content=STORED))
    assert client.interact("i1", "a").accepted == 1
    assert len(asked.bodies) == 3
    assert len(set(asked.bodies)) == 1  # its time too, so the server knows that it is the same


def test_a_server_that_is_busy_is_asked_when_it_says(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("recsys.client.client.time", SimpleNamespace(sleep=waited.append))  # not of other threads
    monkeypatch.setattr("recsys.client.async_client.asyncio", SimpleNamespace(sleep=sleep))
    client, asked = asking(kind, busy(), httpx.Response(200, content=RANKED))
    assert client.rank("u", ["a"]).impression == "i1"
    assert waited == [1.0]
    client, asked = asking(kind, busy(), longest=0.5)
    with pytest.raises(OverloadedError, match="too many") as caught:
        client.rank("u", ["a"])
    assert caught.value.retry_after == 1
    assert len(asked.bodies) == 1


def test_pauses_double_and_are_drawn() -> None:
    error = httpx.ConnectError("refused")
    for draw, expected in ((0.0, [0.05, 0.1, 0.2]), (1.0, [0.1, 0.2, 0.4])):
        retries = Retries(most=3, pause=0.1, draw=lambda draw=draw: draw)  # type: ignore[misc]
        assert [retries.pause_after(error, n, repeatable=False) for n in range(3)] == pytest.approx(expected)


def test_an_answer_of_a_proxy_is_shown(kind: str) -> None:
    client, _ = asking(kind, httpx.Response(404, text="<html>nginx</html>"))
    with pytest.raises(Exception, match="status 404: <html>nginx"):
        client.rank("u", ["a"])


def test_fields_that_a_newer_server_adds_are_ignored(kind: str) -> None:
    newer = msgspec.json.encode(msgspec.json.decode(RANKED) | {"explained": {"by": 1}})
    client, _ = asking(kind, httpx.Response(200, content=newer))
    assert client.rank("u", ["a"]).impression == "i1"


def test_the_page(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/client.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block.replace("http://127.0.0.1:8000", url), {})
    assert capsys.readouterr().out.splitlines()[-1] == "['tea', 'coffee']"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html>nginx</html>"),
        (200, b"[1]"),
        (200, b'{"left":"\xff","impression":"\xff"}'),
        (200, b"[" * 100_000),
        (422, b'{"error":{"field":"events","message":"no such thing"}}'),
        (429, b""),
    ],
    ids=["page", "list", "bytes", "deep", "refused", "years"],
)
def test_what_is_no_answer_of_the_server_is_an_error_of_the_api(kind: str, status: int, content: bytes) -> None:
    calls: dict[str, tuple[object, ...]] = {"rank": ("u", ["a"]), "send": ([ItemUpdate(8, "x")],), "forget": ("u",)}
    for name, values in calls.items():
        answer = httpx.Response(status, content=content, headers={"Retry-After": "9" * 5000})
        with pytest.raises(ApiError):
            getattr(asking(kind, answer)[0], name)(*values)


def test_an_answer_that_cannot_be_unpacked_is_lost(kind: str) -> None:
    torn = httpx.DecodingError("incorrect header check")
    client, asked = asking(kind, torn, httpx.Response(200, content=STORED))
    assert client.interact("i1", "a").accepted == 1
    assert len(asked.bodies) == 2
    with pytest.raises(UnavailableError, match="incorrect header"):
        asking(kind, torn)[0].rank("u", ["a"])


@pytest.mark.parametrize("key", ["", "rk-a\n", "rk-a b", "rk-ключ"], ids=["none", "line", "space", "letters"])
def test_what_can_be_no_key_is_refused_and_not_shown(kind: str, key: str) -> None:
    with pytest.raises(InvalidValueError, match="key: it is empty") as caught:
        Asking(kind, "http://x", key).ready()
    assert "rk-" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://", "http://x?y=1", "http://x/#y", "http://[::1", "http://\n", "ftp://x"])
def test_what_can_be_no_address_is_refused(kind: str, address: str) -> None:
    with pytest.raises(InvalidValueError, match="is no address of a server"):
        Asking(kind, address).ready()


def test_an_error_without_words_is_named(kind: str) -> None:
    with pytest.raises(UnavailableError, match="does not answer: ReadTimeout"):
        asking(kind, httpx.ReadTimeout(""))[0].rank("u", ["a"])


def test_errors_show_no_password_of_the_address(kind: str) -> None:
    queue = httpx.MockTransport(Answers(httpx.ReadTimeout("slow")))
    with pytest.raises(UnavailableError, match="http://x/ does not answer") as caught:
        Asking(kind, "http://me:secret@x", transport=queue).rank("u", ["a"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("user", [".", "..", "../rank"])
def test_a_user_with_dots_is_forgotten(kind: str, url: str, log: FailingLog, user: str) -> None:
    Asking(kind, url).rank(user, ["a"])
    assert Asking(kind, url).forget(user)
    assert any(isinstance(event, Erasure) and event.user == user for event in stored(log))


def test_values_of_arrays_are_sent_as_lists(kind: str) -> None:
    client, asked = asking(kind, httpx.Response(200, content=RANKED))
    client.rank("u", np.array(["a", "b"]), features={"x": np.float32(0.5)}, item_features={"y": np.array([1, 2])})
    sent = msgspec.json.decode(asked.bodies[0])
    assert (sent["items"], sent["features"], sent["item_features"]) == (["a", "b"], {"x": 0.5}, {"y": [1, 2]})


def test_what_json_has_no_form_for_is_refused(kind: str) -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless
    for features in ({"x": "\ud800"}, endless):
        with pytest.raises(InvalidValueError, match="JSON"):
            Asking(kind, "http://x").rank("u", ["a"], features=features)
    with pytest.raises(InvalidValueError, match=r"give a list of ids, such as \['abc'\]"):
        Asking(kind, "http://x").rank("u", "abc")


FORKS = """
import os, sys
from recsys.client import Client
client = Client(sys.argv[1], timeout=60)
client.rank("u", ["before"])
child = os.fork()
own = f"item-{os.getpid()}"
got = [client.rank("u", [own]).items[0].item for _ in range(50)]
sys.exit(got != [own] * 50 or bool(child and os.waitpid(child, 0)[1]))
"""


def test_processes_that_forked_get_their_own_answers(url: str) -> None:
    """They have what was one connection."""
    subprocess.run([sys.executable, "-c", FORKS, url], check=True, timeout=120)
