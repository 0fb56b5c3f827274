"""Whether and when a request is sent again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from recsys.errors import UnavailableError
from serving.api.messages.request_errors import ApiError

_REFUSED = (429, 503)
"""By the server, before it did anything."""
_LOST = (502, 504)
"""By a proxy, which does not know what the server did."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `most` after the first attempt, each after a pause that doubles from `pause` seconds on.

    A server that says Retry-After is asked no sooner, and not at all if that is more than `longest` seconds. Pauses are
    drawn between half of that and all of it, so that clients that were refused together do not come back together.

    A request that did not reach the server, or that it refused for now, can be sent again. One whose answer got lost
    only if it is `repeatable`: what was ranked may be an impression already.
    """

    most: int = 2
    pause: float = 0.05
    longest: float = 2.0
    draw: Callable[[], float] = random.random

    def pause_after(self, error: httpx.RequestError | ApiError, attempt: int, *, repeatable: bool) -> float:
        """Seconds until the attempt after this one, counted from 0.

        Raises if there is none: UnavailableError if no answer came, else `error`.
        """
        asked = _asked(error, repeatable=repeatable)
        if attempt < self.most and asked is not None and asked <= self.longest:
            return max(asked, self.pause * float(2**attempt) * (0.5 + self.draw() / 2))
        if isinstance(error, ApiError):
            raise error
        url = error.request.url.copy_with(path="/", userinfo=b"")
        said = str(error) or type(error).__name__  # with asyncio timeouts say nothing
        raise UnavailableError(f"{url} does not answer: {said}. Is `recsys serve` running there?") from error


def _asked(error: httpx.RequestError | ApiError, *, repeatable: bool) -> float | None:
    """Seconds that must pass first; None: it must not be sent again."""
    if isinstance(error, ApiError):
        again = error.status in _REFUSED or (repeatable and error.status in _LOST)
        return float(error.retry_after or 0) if again else None
    return 0.0 if repeatable or isinstance(error, _NOT_SENT) else None
