"""Passwords in URLs. URLs are shown in messages and kept in files, so they name an environment variable: `env:NAME`."""

from __future__ import annotations

import os
import re

from recsys.errors import InvalidValueError


def secret_name(text: str) -> str:
    """`text`, if it is `env:NAME`. Raises InvalidValueError otherwise."""
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", text):
        raise InvalidValueError("write env:NAME and set that environment variable; a URL is shown and kept in files")
    return text


def without_secrets(url: str) -> str:
    """`url` for messages: without a user and password, which somebody may have written into it, and without options.

    >>> without_secrets("kafka://me:sesame@host:9092/clicks?password=sesame")
    'kafka://host:9092/clicks'
    """
    scheme, colon, place = url.partition(":")
    _, at, behind = place.rpartition("@")
    return scheme + colon + (f"//{behind}" if at else place).partition("?")[0]


def revealed(text: str, whose: str) -> str:
    """What the environment variable in `text` holds; other texts as they are.

    Raises InvalidValueError if the variable is not set; the message begins with `whose` URL needs it.
    """
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if name not in os.environ:
        raise InvalidValueError(f"{whose} URL takes a password from the environment variable {name}, which is not set")
    return os.environ[name]
