"""Answers that say what is wrong."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from serving.api.messages.request_errors import ApiError
from serving.api.messages.schemas import ErrorResponse


def error_response(error: ApiError) -> Response:
    """The answer for an error: its status, headers, field and message."""
    body = msgspec.json.encode(ErrorResponse(error.detail))
    return Response(body, error.status, error.headers, media_type="application/json")
