"""From a decoder's complaint to an answer that names the field."""

from __future__ import annotations

import re

from serving.api.schemas import Problem

_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_FIELD = re.compile(r"field `([^`]*)`")
_PREFIX = re.compile(r"([A-Za-z_][\w.\[\]]*): (.*)", re.DOTALL)


class BadRequestError(ValueError):
    """A request that cannot be served, as the client's mistake."""

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(field, message)

    @classmethod
    def of(cls, status: int, problem: Problem) -> BadRequestError:
        return cls(status, problem.field, problem.message)


def from_reason(reason: str) -> Problem:
    """The field that a reason is about; msgspec names it at the end, the event rules at the start.

    >>> from_reason("Object missing required field `user`").field
    'user'
    >>> from_reason("Expected `str`, got `int` - at `$.items[3]`")
    Problem(field='items[3]', message='Expected `str`, got `int`')
    >>> from_reason("scores: 1 values for 2 items")
    Problem(field='scores', message='1 values for 2 items')
    """
    at = _AT.search(reason)
    path = at.group(1) if at else ""
    text = _AT.sub("", reason)
    named = _FIELD.search(text)
    if named:
        return Problem(f"{path}.{named.group(1)}" if path else named.group(1), text)
    prefixed = None if path else _PREFIX.match(text)
    return Problem(*prefixed.groups()) if prefixed else Problem(path, text)
