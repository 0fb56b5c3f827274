"""Pages of other web sites, in browsers of people who can reach the server."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from recsys.config.file import parse
from recsys.errors import ConfigError
from serving.api_key import new_key
from tests.serving.api.asking import Start, figures

SHOP, OTHER = "https://shop.example", "https://other.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
BODY = {"user": "u", "items": ["a"]}


def before(app: httpx.Client, origin: str) -> httpx.Response:
    """What a browser asks before it sends a page's request."""
    return app.options("/v1/rank", headers={"Origin": origin, **ASKS})


def test_by_default_no_page_may_ask(start: Start) -> None:
    key, configured = new_key("shop", ["rank"])
    for app in (start(), start(api_keys=[configured])):
        asked = before(app, SHOP)
        assert asked.status_code in (401, 403)
        sent = app.post("/v1/rank", json=BODY, headers={"Origin": SHOP, "Authorization": f"Bearer {key}"})
        assert not [name for name in {**asked.headers, **sent.headers} if name.startswith("access-control")]


def test_pages_of_a_named_origin_may(start: Start) -> None:
    key, configured = new_key("shop", ["rank"])
    app = start(api_keys=[configured], cors_origins=[SHOP])
    asked = before(app, SHOP)
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == SHOP
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"].lower()
    assert "access-control-allow-credentials" not in asked.headers
    for sent, status in ({"Authorization": f"Bearer {key}"}, 200), ({}, 401):
        answer = app.post("/v1/rank", json=BODY, headers={"Origin": SHOP, **sent})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, SHOP)
    refused = before(app, OTHER)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


def test_without_keys_a_page_writes_no_impressions(start: Start) -> None:
    """A browser sends plain text to another site without asking it; only the answer is kept from the page."""
    app = start(cors_origins=[SHOP])
    for origin, status in ((OTHER, 403), ("null", 403), (SHOP, 200), (str(app.base_url).rstrip("/"), 200)):
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        assert app.post("/v1/rank", content=json.dumps(BODY), headers=headers).status_code == status
    assert figures(app)['recsys_refused_total{reason="origin"}'] == 2


@pytest.mark.parametrize(
    "origin",
    ["*", "shop.example", "https://shop.example/", "https://Shop.example", "https://shop.example:443", "http://a:80"],
)
def test_what_no_browser_sends_is_no_origin(origin: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cors_origins: no browser sends"):
        parse(f'[serving]\ncors_origins = ["{origin}"]\n', tmp_path / "recsys.toml")


def test_origins(tmp_path: Path) -> None:
    origins = ["https://shop.example", "http://127.0.0.1:3000", "https://shop.example:8443", "http://[::1]:443"]
    assert parse(f"[serving]\ncors_origins = {origins}\n", tmp_path / "recsys.toml").serving.cors_origins == origins
