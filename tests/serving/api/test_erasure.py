"""`DELETE /v1/users/{user}`: who may, what goes at once, and what is said when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest

from serving.api.messages.operator_schemas import ErasureResponse
from serving.api_key import SCOPES, new_key
from serving.assembly import build
from serving.process_settings import Settings
from serving.replication.publish.publisher import Publisher
from streaming.log.erasure import UserEvents
from streaming.log.file_log import FileLog
from tests.serving.api.asking import FailingLog, Start, rank, ready
from tests.serving.fakes import Graphs
from tests.serving.running import running
from tests.serving.waiting import until

USER = "ada/lovelace é ?"


def erase(app: httpx.Client, user: str, **options: object) -> httpx.Response:
    return app.delete(f"/v1/users/{quote(user, safe='')}", **options)  # type: ignore[arg-type]


def answered(response: httpx.Response) -> dict[str, tuple[int, int]]:
    assert response.status_code == 200, response.text
    answer = msgspec.convert(response.json(), ErasureResponse)
    assert answer.left == sum(place.now for place in answer.places)
    return {place.place: (place.before, place.now) for place in answer.places}


def test_a_user_is_gone_from_log_and_redis_and_from_what_the_server_remembers(
    settings: Settings, publish: Callable[..., Publisher], tmp_path: Path
) -> None:
    publisher = publish({"a": 1.0, "b": 2.0})
    publisher.publish_entities({USER: {"town": "Paris"}, "bob": {"town": "Rome"}}, {})
    log = FileLog(tmp_path / "log")
    with running(build(replace(settings, dead_letters=tmp_path / "dead.jsonl"), log, Graphs())) as app:
        ready(app)
        answer = rank(app, "a", "b", user=USER)
        click = {"type": "interaction", "time": 1, "impression": answer["impression"], "item": "a"}
        assert app.post("/v1/events", json=click).json()["accepted"] == 1
        rank(app, "a", "b", user="bob")
        until(lambda: log.end() == (3,))
        found = answered(erase(app, USER))
        assert found == {"Redis": (2, 0), "dead letters": (0, 0), "event log": (2, 0)}
        assert UserEvents(log, [USER, "bob"], returned=True).count() == {USER: 0, "bob": 1}
        again = answered(erase(app, USER))
        assert again == dict.fromkeys(found, (0, 0))
        assert log.end() == (4,)
        rank(app, "a", "b", user=USER)
        until(lambda: log.end() == (5,))
        assert answered(erase(app, USER))["event log"] == (1, 0)


def test_only_admins_may(start: Start) -> None:
    made = [new_key(scope, [scope]) for scope in SCOPES]
    app = start(api_keys=tuple(key for _, key in made))
    answers = [erase(app, "u", headers={"Authorization": f"Bearer {sent}"}).status_code for sent, _ in made]
    assert dict(zip(SCOPES, answers, strict=True)) == {"rank": 403, "events": 403, "admin": 200}
    assert erase(app, "u").status_code == 401


@pytest.mark.parametrize("user", ["", "x" * 513])
def test_what_cannot_be_an_id_is_refused(start: Start, user: str) -> None:
    response = erase(start(), user)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == "user"


@pytest.mark.parametrize("path", ["M%FCller", "%ff"])
def test_an_id_that_is_not_utf_8_is_refused_where_another_user_would_be_erased(start: Start, path: str) -> None:
    response = start().delete(f"/v1/users/{path}")
    assert response.status_code == 422
    assert "not UTF-8" in response.json()["error"]["message"]


def test_clients_cannot_send_erasures_as_events(start: Start) -> None:
    response = start().post("/v1/events", json={"type": "erasure", "time": 1, "user": "bob"})
    assert response.status_code == 422
    assert "the kinds are impression, interaction, user, item" in response.text


def test_a_redis_that_is_away_is_said_and_nothing_is_begun(start: Start, log: FailingLog) -> None:
    response = erase(start(redis_url="redis://127.0.0.1:1"), "u")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "not everything of the user is erased, ask again: Redis does not answer" in response.text
    assert log.end() == (0,)
