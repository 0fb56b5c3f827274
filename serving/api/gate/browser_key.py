"""How the console's pages show an API key: browsers send no `Authorization`, so it is in a cookie of the console alone.

The cookie is the key itself, so every server with the same keys knows it, and none knows it any more once the key is
taken out of the configuration. No script reads it, no other path and no page of another site gets it sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from serving.api.messages.request_errors import ApiError, ForbiddenError, NoKeyError

CONSOLE: Final = "/console/"
SIGN_IN: Final = CONSOLE + "sign-in"
COOKIE: Final = "recsys_key"
_STATIC = CONSOLE + "static/"


def is_console(path: str) -> bool:
    return path.startswith(CONSOLE)


def is_open(path: str) -> bool:
    """Whether the console shows this to everyone: how it looks, and where a key can be given."""
    return path.startswith(_STATIC) or path in (CONSOLE[:-1], SIGN_IN)


def authorization(path: str, headers: Headers) -> str:
    """What the request would say in `Authorization`, if browsers did."""
    said = headers.get("authorization", "")
    if said or not is_console(path):
        return said
    key = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return f"Bearer {key}" if key else ""


def check_form(method: str, path: str, headers: Headers) -> None:
    """Raises ForbiddenError for what changes something and comes from anywhere but the console's own pages.

    The cookie is SameSite=Strict; but other ports of this host are the same site.
    """
    if method in ("GET", "HEAD") or not is_console(path):
        return
    origin = headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != headers.get("host"):
        raise ForbiddenError("the console's forms are accepted from its own pages alone: open the console, and send it")


def to_sign_in(path: str, method: str, headers: Headers, error: ApiError) -> Response | None:
    """Where a browser gives a key, if it asked for a page and has none for it."""
    if not is_console(path) or method != "GET" or not isinstance(error, NoKeyError | ForbiddenError):
        return None
    if "hx-request" in headers:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": "sign-in"})
    if "text/html" in headers.get("accept", ""):
        return RedirectResponse("sign-in", HTTPStatus.SEE_OTHER)
    return None
