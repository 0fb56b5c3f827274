"""Who may call which route: API keys with scopes, and how often."""

from __future__ import annotations

import hmac
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from serving.api.gate import browser_key
from serving.api.gate.token_bucket import TokenBucket
from serving.api.messages.error_response import error_response
from serving.api.messages.openapi import OPERATIONS
from serving.api.messages.request_errors import ApiError, ForbiddenError, NoKeyError, OverloadedError
from serving.api_key import SCOPES, ApiKey, Scope, hashed

_UNKNOWN_RATE = 10.0
"""Requests a second with unknown keys, of all clients together, that are told so; more are asked to wait."""
_NEEDED: dict[str, Scope | None] = {operation.path: operation.scope for operation in OPERATIONS}
_OPEN = frozenset({"/", "/docs", "/openapi.json"} | {path for path, scope in _NEEDED.items() if scope is None})


class Access:
    """Checks the key of each request; without keys everyone may do everything.

    A path that is not known to be open or to have a scope is for `admin`, so that a forgotten one is closed. `clock` is
    in seconds. `refused` counts requests by reason: `key` (none, or unknown), `scope`, `rate`, `origin`. Without
    keys, pages of other web sites than this server's and `origins` may not use the browsers of those who can reach it.
    """

    def __init__(self, keys: Sequence[ApiKey], clock: Callable[[], float], origins: Collection[str] = ()) -> None:
        self._keys = tuple(keys)
        self._clock = clock
        self._buckets = {key.name: TokenBucket(key.rate) for key in keys if key.rate is not None}
        self._unknown = TokenBucket(_UNKNOWN_RATE)
        self._origins = frozenset(origins)
        self.refused = Counter({"key": 0, "scope": 0, "rate": 0, "origin": 0})

    def guard(self, app: ASGIApp) -> ASGIApp:
        """The application behind this check; it finds the scopes of the key as `scopes` in its scope."""

        async def guarded(scope: AsgiScope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                headers, path = Headers(scope=scope), scope["path"]
                try:
                    self._check_origin(scope["method"], path, headers)
                    scope["scopes"] = self.scopes(path, browser_key.authorization(path, headers))
                except ApiError as error:
                    refusal = browser_key.to_sign_in(path, scope["method"], headers, error) or error_response(error)
                    await refusal(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded

    def count_more(self, request: Request, more: int) -> None:
        """Count a request that was let in as so many more of its key's `rate`: they are what it asks for."""
        key = self._key(browser_key.authorization(request.url.path, request.headers))
        if key is not None and key.name in self._buckets:
            self._buckets[key.name].owe(more)

    def scopes(self, path: str, authorization: str) -> frozenset[Scope]:
        """What the request may do. Raises NoKeyError, ForbiddenError or OverloadedError."""
        if not self._keys:
            return frozenset(SCOPES)
        key = self._key(authorization)
        if path in _OPEN or browser_key.is_open(path):
            return frozenset(key.scopes if key else ())
        needed = _NEEDED.get(path) or "admin"
        if key is None:
            self.refused["key"] += 1
            if authorization and (wait := math.ceil(self._unknown.take(self._clock()))):
                message = f"more than {_UNKNOWN_RATE:g} requests a second with unknown keys; wait {wait} s"
                raise OverloadedError(message, retry_after=wait)
            which = "an unknown key" if authorization else "no key"
            raise NoKeyError(f"{which}; send one of scope {needed} as `Authorization: Bearer KEY`")
        if needed not in key.scopes:
            self.refused["scope"] += 1
            raise ForbiddenError(f"the key {key.name!r} has not the scope {needed}; it has {', '.join(key.scopes)}")
        self._count(key)
        return frozenset(key.scopes)

    def _check_origin(self, method: str, path: str, headers: Headers) -> None:
        """Raises ForbiddenError. With keys there is no need: a page that has none gets no further than any client,
        unless it uses the console's cookie."""
        try:
            browser_key.check_form(method, path, headers)
        except ForbiddenError:
            self.refused["origin"] += 1
            raise
        origin = headers.get("origin", "")
        if self._keys or not origin or origin in self._origins or urlsplit(origin).netloc == headers.get("host"):
            return
        self.refused["origin"] += 1
        raise ForbiddenError(f"a page of {origin} may not ask from browsers; [serving] cors_origins can allow it")

    def _count(self, key: ApiKey) -> None:
        bucket = self._buckets.get(key.name)
        if bucket and (wait := math.ceil(bucket.take(self._clock()))):
            self.refused["rate"] += 1
            message = f"more than {key.rate:g} requests a second with the key {key.name!r}; wait {wait} s"
            raise OverloadedError(message, retry_after=wait)

    def _key(self, authorization: str) -> ApiKey | None:
        """The key that was sent. The time it takes says nothing of the hashes: all are compared, each as a whole."""
        kind, _, sent = authorization.partition(" ")
        digest = hashed(sent.strip())
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, digest)]
        return found[0] if found and kind.lower() == "bearer" else None
