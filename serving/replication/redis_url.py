"""The URL of a Redis server: what a person may write, and what the client is given."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from recsys.errors import InvalidValueError
from streaming.environment_secret import revealed, secret_name

_FORM = "write redis://HOST:PORT/0 (or rediss://, unix://); leave it empty for an embedded Redis"


def checked(url: str) -> str:
    """`url`, if it is one of Redis without a password in it, all of which the client understands.

    Raises InvalidValueError otherwise.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise InvalidValueError(_FORM)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidValueError("a URL is shown and kept in files: write ?username=NAME&password=env:VARIABLE instead")
    for name, value in parse_qsl(parts.query):
        if name == "password":
            secret_name(value)
    _check_database(parts)
    import redis  # here, because it takes a tenth of a second

    try:
        redis.ConnectionPool.from_url(url).make_connection()  # connects when it is used
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidValueError(f"{_FORM}; Redis's client says: {error}") from error
    return url


def _check_database(parts: SplitResult) -> None:
    """The client would take 0 for a name, and so mix two projects. Raises InvalidValueError."""
    named = parts.path.strip("/")
    if parts.scheme != "unix" and named and not (named.isascii() and named.isdecimal()):
        raise InvalidValueError(f"{named!r} is no database of Redis: databases are numbers, such as /1")


def with_secrets(url: str) -> str:
    """`url` with the password that its environment variable holds. Raises InvalidValueError if that is not set."""
    place, _, query = url.partition("?")  # urlunsplit would make unix:/PATH of unix:///PATH, which the client refuses
    revealed_ones = [(name, revealed(value, "Redis's")) for name, value in parse_qsl(query)]
    return f"{place}?{urlencode(revealed_ones, quote_via=quote)}" if revealed_ones else place
