"""`DELETE /v1/users/{user}`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import InvalidValueError, RecsysError
from serving.api.messages.operator_schemas import ErasureResponse
from serving.api.messages.request_errors import InvalidFieldError, NotErasedError
from serving.erasure.place import Finding


class ErasureRoute:
    """Erases a user with `erase`, which goes on if the client leaves, and may be asked for again if it fails."""

    def __init__(self, erase: Callable[[str], list[Finding]]) -> None:
        self._erase = erase

    async def delete(self, request: Request) -> Response:
        user = request.path_params["user"]
        if "\ufffd" in user:  # what servers put in the place of bytes that are no text
            raise InvalidFieldError(
                "the id in the path is not UTF-8, percent-encoded: give it as events have it", "user"
            )
        try:
            places = await asyncio.to_thread(self._erase, user)
        except InvalidValueError as error:
            raise InvalidFieldError(str(error), "user") from None
        except RecsysError as error:
            raise NotErasedError(f"not everything of the user is erased, ask again: {error}") from error
        answer = ErasureResponse(user, places, sum(one.now for one in places))
        return Response(msgspec.json.encode(answer), media_type="application/json")
