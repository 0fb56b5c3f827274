"""From a decoder's complaint to an answer that names the field."""

from __future__ import annotations

import re

from serving.api.schemas import ErrorDetail

_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_FIELD = re.compile(r"field `([^`]*)`")
_PREFIX = re.compile(r"([A-Za-z_][\w.\[\]]*): (.*)", re.DOTALL)


class BadRequestError(ValueError):
    """A request that cannot be served, as the client's mistake."""

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem = ErrorDetail(field, message)

    @classmethod
    def of(cls, status: int, problem: ErrorDetail) -> BadRequestError:
        return cls(status, problem.field, problem.message)


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
