"""Who may call what: keys, scopes, rates, and that no key is told, over real connections."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from recsys.config.file import parse
from recsys.errors import ConfigError, InvalidValueError
from serving.api.gate import access
from serving.api.gate.access import Access
from serving.api.gate.token_bucket import TokenBucket
from serving.api.messages.openapi import OPERATIONS
from serving.api.messages.request_errors import NoKeyError, OverloadedError
from serving.api_key import ApiKey, Scope, hashed, new_key
from serving.process_settings import Settings
from tests.serving.api.asking import Start

BODIES: dict[str, Any] = {
    "/v1/rank": {"user": "u", "items": ["a"]},
    "/v1/recommend": {"user": "u"},
    "/v1/recommend/batch": {"requests": [{"user": "u"}]},
    "/v1/events": {},
}
GUARDED = [operation for operation in OPERATIONS if operation.scope is not None]
SCOPES: tuple[Scope, ...] = ("rank", "events", "admin")
KEYS = {scope: new_key(scope, [scope]) for scope in SCOPES}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def call(app: httpx.Client, path: str, headers: dict[str, str]) -> httpx.Response:
    method = next((operation.method for operation in OPERATIONS if operation.path == path), "get")
    return app.request(method, path, json=BODIES.get(path), headers=headers)


def error(response: httpx.Response) -> str:
    assert response.json()["error"]["field"] == ""
    return str(response.json()["error"]["message"])


@pytest.fixture
def app(start: Start) -> httpx.Client:
    return start(api_keys=[configured for _, configured in KEYS.values()])


def test_each_route_opens_to_the_keys_of_its_scope_alone(app: httpx.Client) -> None:
    for operation in GUARDED:
        for scope, (key, _) in KEYS.items():
            answer = call(app, operation.path, bearer(key))
            if scope == operation.scope:
                assert answer.status_code in (200, 422), operation.path
            else:
                assert answer.status_code == 403
                assert error(answer) == f"the key '{scope}' has not the scope {operation.scope}; it has {scope}"


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer recsys_wrong", "Basic {key}", "{key}", "Bearer {key}x"])
def test_nothing_is_done_without_a_known_key(app: httpx.Client, sent: str) -> None:
    headers = {"Authorization": sent.format(key=KEYS["rank"][0])} if sent else {}
    for operation in GUARDED:
        answer = call(app, operation.path, headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert f"scope {operation.scope}" in error(answer)
    assert app.get("/not/there", headers=headers).status_code == 401


def test_what_is_open_tells_nothing_of_models_and_trainers(app: httpx.Client) -> None:
    assert [app.get(path).status_code for path in ("/healthz", "/docs", "/openapi.json")] == [200, 200, 200]
    closed = app.get("/readyz")
    assert (closed.status_code, closed.json()) == (
        503,
        {"ready": False, "missing": {}, "trainer": {}, "precision": {}, "engine": {}, "processes": {}},
    )
    assert app.get("/readyz", headers=bearer(KEYS["admin"][0])).json()["missing"].keys() == {"online"}


def test_refusals_are_counted(app: httpx.Client) -> None:
    call(app, "/v1/rank", {})
    call(app, "/v1/rank", bearer(KEYS["events"][0]))
    text = app.get("/metrics", headers=bearer(KEYS["admin"][0])).text
    assert 'recsys_refused_total{reason="key"} 1.0' in text
    assert 'recsys_refused_total{reason="scope"} 1.0' in text


def test_two_keys_are_valid_while_one_replaces_the_other(start: Start) -> None:
    old, new = new_key("shop", ["rank"]), new_key("shop-2", ["rank"])
    app = start(api_keys=[old[1], new[1]])
    assert [call(app, "/v1/rank", bearer(key)).status_code for key in (old[0], new[0])] == [200, 200]
    later = start(api_keys=[new[1]])
    assert [call(later, "/v1/rank", bearer(key)).status_code for key in (old[0], new[0])] == [401, 200]


def test_a_key_has_its_own_rate(start: Start) -> None:
    few, many = new_key("few", ["rank"], rate=0.01), new_key("many", ["rank"])
    app = start(api_keys=[few[1], many[1]])
    assert call(app, "/v1/rank", bearer(few[0])).status_code == 200
    refused = call(app, "/v1/rank", bearer(few[0]))
    assert refused.status_code == 429
    assert 98 <= int(refused.headers["Retry-After"]) <= 100
    assert call(app, "/v1/rank", bearer(many[0])).status_code == 200


def test_time_brings_new_requests() -> None:
    now = [0.0]
    key, configured = new_key("k", ["rank"], rate=2.0)
    access = Access([configured], lambda: now[0])
    for _ in range(2):
        access.scopes("/v1/rank", f"Bearer {key}")
    with pytest.raises(OverloadedError):
        access.scopes("/v1/rank", f"Bearer {key}")
    now[0] = 0.5
    assert access.scopes("/v1/rank", f"Bearer {key}") == {"rank"}
    assert access.refused["rate"] == 1


def test_a_bucket_never_gives_more_than_its_rate() -> None:
    bucket = TokenBucket(5.0)
    given = sum(bucket.take(second / 100) == 0 for second in range(1000))
    assert 54 <= given <= 55  # ten seconds of five, and the first five


def test_what_is_owed_is_waited_for() -> None:
    bucket = TokenBucket(5.0)
    assert bucket.take(0.0) == 0
    bucket.owe(13)
    assert bucket.take(0.0) == pytest.approx(2)
    assert bucket.take(1.9) > 0
    assert bucket.take(2.0) == 0


def test_a_batch_counts_as_many_as_it_asks_for(start: Start) -> None:
    key, configured = new_key("mail", ["rank"], rate=0.5)
    app = start(api_keys=[configured])
    batch = {"requests": [{"user": "a"}, {"user": "b"}, {"user": "c"}]}
    assert app.post("/v1/recommend/batch", json=batch, headers=bearer(key)).status_code == 200
    refused = call(app, "/v1/rank", bearer(key))
    assert refused.status_code == 429
    assert 4 <= int(refused.headers["Retry-After"]) <= 6  # three requests at one in two seconds


def test_a_route_that_nobody_thought_of_is_closed() -> None:
    access = Access([KEYS["rank"][1]], lambda: 0.0)
    with pytest.raises(NoKeyError, match="scope admin"):
        access.scopes("/v1/new", "")


def test_no_key_is_logged_or_shown(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    key, configured = new_key("shop", ["rank", "admin"])
    with caplog.at_level(logging.DEBUG):
        app = start(api_keys=[configured])
        texts = [
            call(app, path, bearer(sent)).text
            for path in ("/metrics", "/v1/rank", "/readyz", "/not/there")
            for sent in (key, key[:-1])
        ]
    texts += [repr(configured), str(configured), repr(Settings(api_keys=[configured]))]
    assert key[7:-1] not in caplog.text + "".join(texts)
    assert configured.sha256 not in "".join(texts)


KEY = "recsys_" + 43 * "k"  # the same in every process, as parameters of a test must be
SHOP = ApiKey(name="shop", scopes=["rank"], sha256=hashed(KEY))
LINE = f'{{ name = "shop", scopes = ["rank"], sha256 = "{SHOP.sha256}" }}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'api_keys = ["{KEY}"]', "must be a table"),
        (f'api_keys = "{KEY}"', "must be a list"),
        (f'api_keys = [{{ name = "shop", scopes = ["rank"], sha256 = "{KEY}" }}]', "key 'shop': sha256: must be 64"),
        (f'api_keys = [{{ name = "{KEY}{KEY}", scopes = ["rank"], sha256 = "{SHOP.sha256}" }}]', "name"),
        (
            f'api_keys = [{{ name = "shop", scopes = ["all"], sha256 = "{SHOP.sha256}" }}]',
            "'rank', 'events' or 'admin'",
        ),
        (f'api_keys = [{{ name = "shop", scopes = [], sha256 = "{SHOP.sha256}" }}]', "must not be empty"),
        (f'api_keys = [{{ name = "shop", scope = "rank", sha256 = "{SHOP.sha256}" }}]', "did you mean `scopes`"),
        (f"api_keys = [{LINE}, {LINE}]", "two have the name of 'shop'"),
        (f"api_keys = [{LINE}]\nwithout_keys = true", "has no effect, there are keys"),
        ('host = "0.0.0.0"', "the server has no keys"),
        ('host = "shop.example"', "the server has no keys"),
    ],
)
def test_a_wrong_setting_is_told_and_a_key_in_it_is_not(line: str, reason: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError) as told:
        parse(f"[serving]\n{line}\n", tmp_path / "recsys.toml")
    assert reason in str(told.value)
    assert KEY[7:] not in str(told.value)


def test_other_addresses_need_keys_or_a_word(tmp_path: Any) -> None:
    for line in (f"api_keys = [{LINE}]", "without_keys = true"):
        config = parse(f'[serving]\nhost = "0.0.0.0"\n{line}\n', tmp_path / "recsys.toml")
        assert config.serving.host == "0.0.0.0"
    assert parse(f"[serving]\napi_keys = [{LINE}]\n", tmp_path / "recsys.toml").serving.api_keys == [SHOP]
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        assert Settings(host=host).host == host
    with pytest.raises(InvalidValueError, match="recsys key create"):
        Settings(host="192.0.2.1")


def test_keys_are_long_and_differ() -> None:
    made = {new_key("k", ["rank"])[0] for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) == 50 for key in made)
    assert isinstance(KEYS["rank"][1], ApiKey)


def test_who_guesses_keys_is_told_to_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_UNKNOWN_RATE", 0.01)  # so that no machine is too slow to exceed it
    app = start(api_keys=[KEYS["rank"][1], KEYS["admin"][1]])
    first, late = (call(app, "/v1/rank", bearer(f"recsys_{guess:043}")) for guess in range(2))
    assert (first.status_code, late.status_code) == (401, 429)
    assert 90 <= int(late.headers["Retry-After"]) <= 100
    assert "unknown keys" in error(late)
    assert call(app, "/v1/rank", bearer(KEYS["rank"][0])).status_code == 200, "who has a key does not wait"
    assert call(app, "/v1/rank", {}).status_code == 401
    text = call(app, "/metrics", bearer(KEYS["admin"][0])).text
    assert 'recsys_refused_total{reason="key"} 3.0' in text
