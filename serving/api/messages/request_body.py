"""Bodies of requests: read up to a limit, and decoded with errors that name the field."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from serving.api.messages.gzip_body import GzipBody
from serving.api.messages.request_errors import (
    BadRequestError,
    ClientGoneError,
    EncodingError,
    InvalidFieldError,
    TooLargeError,
    parse_reason,
)
from streaming.ingest.refusals.decode_errors import explain

_T = TypeVar("_T")


async def read(request: Request, most: int) -> bytes:
    """The body, unpacked if it is gzip. Raises TooLargeError, before reading it where it says so itself, when it has
    more bytes than this, ClientGoneError when it does not come, and EncodingError if it is packed in another way.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return await _sent(request, most)
    if coding not in ("gzip", "x-gzip"):
        raise EncodingError(f"Content-Encoding {coding!r} is not read: send the body as it is, or as gzip")
    packed = GzipBody(most)
    body = packed.read(await _sent(request, most))
    packed.end()
    return body


async def _sent(request: Request, most: int) -> bytes:
    too_large = TooLargeError(f"the body is larger than {most} bytes; send it in parts")
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
    except ClientDisconnect:
        raise ClientGoneError("the client went away before its request was whole") from None
    return b"".join(parts)


def decoded(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    """What JSON means. Raises BadRequestError for other text, InvalidFieldError for a field of another type."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidFieldError.of(parse_reason(explain(body, error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = parse_reason(explain(body, error))
        raise BadRequestError(f"the body is not JSON: {detail.message}", detail.field) from error
