"""Where a browser gives its API key, and takes it back."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.api.gate.access import Access
from serving.api.gate.browser_key import CONSOLE, COOKIE
from serving.api.messages.request_errors import ApiError
from serving.console.rendering import Renderer, form


class SignIn:
    """Keeps the key in a cookie of the session, which no script reads; `access` says whether it opens the console."""

    def __init__(self, render: Renderer, access: Access) -> None:
        self._render, self._access = render, access

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return self._render.page("sign_in.html", "sign-in", error="")

    async def enter(self, request: Request) -> Response:
        key = (await form(request)).get("key", "").strip()
        try:
            self._access.scopes(CONSOLE, f"Bearer {key}")
        except ApiError as error:
            return self._render.page("sign_in.html", "sign-in", error.status, error=error.detail.message)
        answer = RedirectResponse(".", HTTPStatus.SEE_OTHER)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, key, path=CONSOLE, secure=secure, httponly=True, samesite="strict")
        return answer

    async def leave(self, request: Request) -> Response:  # noqa: ARG002
        answer = RedirectResponse("sign-in", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, path=CONSOLE)
        return answer
