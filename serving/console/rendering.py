"""Pages of templates, with the headers that keep browsers from asking anybody else, and forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.api.messages.request_body import read
from serving.api.messages.request_errors import BadRequestError

FOLDER: Final = Path(__file__).parent
_MOST_OF_A_FORM: Final = 1 << 20
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would send forms with the origin `null`
    "X-Content-Type-Options": "nosniff",
}
"""Of all pages: nothing but this server's own files is loaded, no inline script runs, and nobody frames them."""
PAGES: Final = (
    (".", "Live"),
    ("try", "Try a user"),
    ("experiments", "Experiments"),
    ("lookup", "Users and items"),
    ("tables", "Tables"),
)
"""Addresses, relative to the console's, and titles."""


class Renderer:
    """Renders templates. `version` is this package's; `keys` says whether the visitor has signed in."""

    def __init__(self, version: str, *, keys: bool) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(pages=PAGES, version=version, keys=keys)

    def page(self, template: str, address: str = "", status: int = 200, **content: Any) -> Response:
        """The page of a template; `address` marks its place in the navigation."""
        text = self._environment.get_template(template).render(address=address, **content)
        return HTMLResponse(text, status, HEADERS)


async def form(request: Request) -> dict[str, str]:
    """The fields of a form; the last one of each name. Raises BadRequestError for what is none."""
    body = await read(request, _MOST_OF_A_FORM)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise BadRequestError(f"the form cannot be read: {error}") from error
