"""From a decoder's complaint to an answer that names the field."""

from __future__ import annotations

import re

from serving.api import Problem

_AT = re.compile(r" - at `\$(?:\.?)(.*)`$")
_FIELD = re.compile(r"field `([^`]*)`")


class BadRequestError(ValueError):
    """A request that cannot be served, as the client's mistake."""

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(field, message)


def from_validation(message: str) -> Problem:
    """The field that msgspec's message is about.

    >>> from_validation("Object missing required field `user`").field
    'user'
    >>> from_validation("Expected `str`, got `int` - at `$.items[3]`")
    Problem(field='items[3]', message='Expected `str`, got `int`')
    """
    at = _AT.search(message)
    path = at.group(1) if at else ""
    text = _AT.sub("", message)
    named = _FIELD.search(text)
    if named:
        path = f"{path}.{named.group(1)}" if path else named.group(1)
    return Problem(path, text)
