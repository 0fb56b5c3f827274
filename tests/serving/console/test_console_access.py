"""Who may open the console, and that other pages cannot use a browser that has it open."""

from __future__ import annotations

import httpx
import pytest

from serving.api_key import new_key
from tests.serving.api.asking import Start, figures

ADMIN, RANK = new_key("boss", ["admin"]), new_key("shop", ["rank", "events"])
PAGES = ("", "live", "try", "try?user=u", "plots/loop", "experiments", "plots/experiments", "lookup", "erase", "tables")
FORMS = ("ask", "click", "after", "erase", "sign-out")
HTML = {"Accept": "text/html,application/xhtml+xml"}


def origin(app: httpx.Client) -> dict[str, str]:
    return {"Origin": str(app.base_url).rstrip("/")}


def signed_in(app: httpx.Client, key: str = ADMIN[0]) -> httpx.Response:
    return app.post("/console/sign-in", data={"key": key}, headers=origin(app))


@pytest.fixture
def app(start: Start) -> httpx.Client:
    return start(api_keys=[ADMIN[1], RANK[1]])


def test_without_a_key_nothing_is_shown_but_where_to_give_one(app: httpx.Client) -> None:
    for address in PAGES:
        answer = app.get(f"/console/{address}", headers=HTML)
        assert (answer.status_code, answer.headers["Location"]) == (303, "sign-in")
        assert app.get(f"/console/{address}").status_code == 401
        refreshed = app.get(f"/console/{address}", headers={"HX-Request": "true"})
        assert (refreshed.status_code, refreshed.headers["HX-Redirect"]) == (204, "sign-in")
    for address in FORMS:
        assert app.post(f"/console/{address}", headers=origin(app) | HTML).status_code == 401
    assert "API key of scope admin" in app.get("/console/sign-in").text
    assert app.get("/console/static/console.css").status_code == 200


def test_a_key_of_scope_admin_opens_it(app: httpx.Client) -> None:
    answer = signed_in(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, ".")
    cookie = answer.headers["Set-Cookie"]
    assert "; HttpOnly" in cookie
    assert "; Path=/console/" in cookie
    assert "; SameSite=strict" in cookie
    assert "expires" not in cookie.lower()
    assert "max-age" not in cookie.lower()
    for address in PAGES:
        assert app.get(f"/console/{address}", headers=HTML).status_code == 200
    assert "Sign out" in app.get("/console/").text
    left = app.post("/console/sign-out", headers=origin(app))
    assert left.status_code == 303
    assert app.get("/console/", headers=HTML).status_code == 303


def test_so_does_one_in_the_header(app: httpx.Client) -> None:
    assert app.get("/console/", headers={"Authorization": f"Bearer {ADMIN[0]}"}).status_code == 200


@pytest.mark.parametrize(
    ("key", "status", "message"),
    [(RANK[0], 403, "has not the scope admin"), ("recsys_wrong", 401, "an unknown key"), ("", 401, "an unknown key")],
    ids=["another scope", "wrong", "empty"],
)
def test_no_other_key_does(app: httpx.Client, key: str, status: int, message: str) -> None:
    answer = signed_in(app, key)
    assert answer.status_code == status
    assert message in answer.text
    assert "Set-Cookie" not in answer.headers
    assert key not in answer.text or not key
    app.cookies.set("recsys_key", key, path="/console/")
    assert app.get("/console/", headers=HTML).headers["Location"] == "sign-in"


def test_the_cookie_opens_the_console_alone(app: httpx.Client) -> None:
    cookie = {"Cookie": f"recsys_key={ADMIN[0]}"}
    for path in ("/metrics", "/v1/experiments"):
        assert app.get(path, headers=cookie).status_code == 401
    assert app.delete("/v1/users/u", headers=cookie).status_code == 401


def test_forms_of_other_pages_are_refused(app: httpx.Client) -> None:
    """Other ports of the host are the same site, so that browsers send them the cookie."""
    signed_in(app)
    other = f"http://127.0.0.1:{app.base_url.port + 1 if app.base_url.port else 1}"
    for address in FORMS:
        for headers in ({}, {"Origin": other}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
            answer = app.post(f"/console/{address}", headers=headers)
            assert answer.status_code == 403
            assert "from its own pages alone" in answer.json()["error"]["message"]
    counted = {name: value for name, value in metrics(app).items() if "origin" in name}
    assert counted == {'recsys_refused_total{reason="origin"}': 20}


def test_nor_without_keys(start: Start) -> None:
    app = start()
    for address in FORMS:
        assert app.post(f"/console/{address}").status_code == 403
    assert "This server has no keys" in app.get("/console/sign-in").text
    assert "Sign out" not in app.get("/console/").text


def test_who_guesses_keys_is_told_to_wait(app: httpx.Client) -> None:
    answers = {signed_in(app, "recsys_guess").status_code for _ in range(30)}
    assert answers == {401, 429}
    assert signed_in(app).status_code == 303


def metrics(app: httpx.Client) -> dict[str, float]:
    app.headers["Authorization"] = f"Bearer {ADMIN[0]}"
    return figures(app)
