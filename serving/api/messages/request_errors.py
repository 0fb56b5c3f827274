"""Errors that refuse a request, one class per status, and the field that a decoder's message names."""

from __future__ import annotations

import re

from recsys.errors import RecsysError
from serving.api.messages.schemas import ErrorDetail

_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_FIELD = re.compile(r"field `([^`]*)`")
_PREFIX = re.compile(r"([A-Za-z_][\w.\[\]]*): (.*)", re.DOTALL)


class ApiError(RecsysError):
    """A request that is not served; `field` is the wrong part, empty for the whole request."""

    status: int
    retry_after: int | None = None
    """Seconds after which the same request may be served."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.detail = ErrorDetail(field, message)

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @classmethod
    def of(cls, detail: ErrorDetail) -> ApiError:
        return cls(detail.message, detail.field)


class BadRequestError(ApiError):
    """The body cannot be read."""

    status = 400


class NoKeyError(ApiError):
    """The route needs an API key."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ApiError):
    """The key has not the scope of the route."""

    status = 403


class UnknownRouteError(ApiError):
    """There is no such route, or not with this method."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLargeError(ApiError):
    """The body is too large."""

    status = 413


class EncodingError(ApiError):
    """The body is packed in a way that is not read."""

    status = 415


class InvalidFieldError(ApiError):
    """A field has an invalid value."""

    status = 422


class OverloadedError(ApiError):
    """More requests than can be answered in time."""

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClientGoneError(ApiError):
    """The client went away before its answer; the status, which is nginx's, is only counted."""

    status = 499


class NotErasedError(ApiError):
    """A user could not be erased from every place now; the client may ask again."""

    status = 503
    retry_after = 1


class NotStoredError(ApiError):
    """Events could not be stored now; the client may send them again."""

    status = 503
    retry_after = 1


def parse_reason(reason: str) -> ErrorDetail:
    """The field that a reason is about; msgspec names it at the end, the event rules at the start.

    >>> parse_reason("Object missing required field `user`").field
    'user'
    >>> parse_reason("Expected `str`, got `int` - at `$.items[3]`")
    ErrorDetail(field='items[3]', message='Expected `str`, got `int`')
    >>> parse_reason("scores: 1 values for 2 items")
    ErrorDetail(field='scores', message='1 values for 2 items')
    """
    at = _AT.search(reason)
    path = at.group(1) if at else ""
    text = _AT.sub("", reason)
    named = _FIELD.search(text)
    if named:
        return ErrorDetail(f"{path}.{named.group(1)}" if path else named.group(1), text)
    prefixed = None if path else _PREFIX.match(text)
    return ErrorDetail(*prefixed.groups()) if prefixed else ErrorDetail(path, text)
