"""The URL of a Redis: what a person may write, and what the client is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from recsys.errors import InvalidValueError
from streaming.environment_secret import revealed, secret_name

_FORM = (
    "write redis://HOST:PORT/0 (or rediss://, unix://), redis+cluster://HOST:PORT,HOST:PORT or "
    "redis+sentinel://HOST:PORT,HOST:PORT/MASTER; leave it empty for an embedded Redis"
)
Kind = Literal["server", "cluster", "sentinel"]
_KINDS: dict[str, Kind] = {"": "server", "cluster": "cluster", "sentinel": "sentinel"}
_PORTS = {"cluster": 6379, "sentinel": 26379}
_OF_SENTINEL = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL in its parts."""

    kind: Kind
    plain: str
    """That of one server, in redis-py's words, with all options: the server, a node, or a Sentinel."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Nodes of the cluster, or Sentinels."""
    master: str = ""
    sentinel: tuple[tuple[str, str], ...] = ()
    """How to sign in to the Sentinels, where they want it."""


def checked(url: str) -> str:
    """`url`, if it is one of Redis without a password in it, all of which the client understands.

    Raises InvalidValueError otherwise.
    """
    parts = parsed(url)
    for name, value in (*parse_qsl(urlsplit(url).query), *parts.sentinel):
        if name.endswith("password"):
            secret_name(value)
    import redis  # here, because it takes a tenth of a second

    try:
        redis.ConnectionPool.from_url(parts.plain).make_connection()  # connects when it is used
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidValueError(f"{_FORM}; Redis's client says: {error}") from error
    return url


def parsed(url: str) -> RedisUrl:
    """Raises InvalidValueError for what is no URL of Redis.

    >>> parsed("redis+sentinel://a,b:1/shop/2").hosts, parsed("redis+sentinel://a,b:1/shop/2").master
    ((('a', 26379), ('b', 1)), 'shop')
    """
    parts = urlsplit(url)
    scheme, plus, name = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or name not in _KINDS or (plus and not name) or "//" not in url:
        raise InvalidValueError(_FORM)
    kind = _KINDS[name]
    if "@" in parts.netloc:
        raise InvalidValueError("a URL is shown and kept in files: write ?username=NAME&password=env:VARIABLE instead")
    if kind == "server":
        _check_database(parts.scheme, parts.path, parts.query)
        return RedisUrl(kind, url)
    if scheme == "unix":
        raise InvalidValueError(_FORM)
    return _many(kind, scheme, parts)


def _many(kind: Kind, scheme: str, parts: SplitResult) -> RedisUrl:
    hosts = tuple(_address(one, _PORTS[kind]) for one in parts.netloc.split(","))
    master, _, database = parts.path.strip("/").partition("/")
    if kind == "cluster":
        master, database = "", parts.path
        if database.strip("/") not in ("", "0") or dict(parse_qsl(parts.query)).get("db", "0") != "0":
            raise InvalidValueError(
                "a cluster of Redis has database 0 only: leave it out, and give each project a [project] name"
            )
    elif not master:
        raise InvalidValueError("name the master behind the Sentinels: redis+sentinel://HOST:26379/MASTER")
    _check_database(scheme, f"/{database}", parts.query)
    options = parse_qsl(parts.query, keep_blank_values=True)
    own = urlencode([one for one in options if one[0] not in _OF_SENTINEL], quote_via=quote, safe=":")
    host, port = hosts[0]
    place = f"[{host}]" if ":" in host else host
    plain = f"{scheme}://{place}:{port}/{database.strip('/')}" + (f"?{own}" if own else "")
    return RedisUrl(kind, plain, hosts, master, tuple(one for one in options if one[0] in _OF_SENTINEL))


def _address(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        found = parts.hostname or "", parts.port or port
    except ValueError as error:
        raise InvalidValueError(f"{_FORM}; {text!r}: {error}") from error
    if not found[0]:
        raise InvalidValueError(f"{_FORM}; a host is empty")
    return found


def _check_database(scheme: str, path: str, query: str) -> None:
    """The client would take 0 for a name, and one of two: both mix two projects. Raises InvalidValueError."""
    chosen = [value for name, value in parse_qsl(query) if name == "db"]
    named = path.strip("/")
    if scheme != "unix" and named:
        if not (named.isascii() and named.isdecimal()):
            raise InvalidValueError(f"{named!r} is no database of Redis: databases are numbers, such as /1")
        chosen.append(named)
    if len(set(chosen)) > 1:
        raise InvalidValueError(f"names several databases, {' and '.join(sorted(set(chosen)))}: write one of them")


def with_secrets(url: str) -> str:
    """`url` with the password that its environment variable holds. Raises InvalidValueError if that is not set."""
    place, _, query = url.partition("?")  # urlunsplit would make unix:/PATH of unix:///PATH, which the client refuses
    revealed_ones = [(name, revealed(value, "Redis's")) for name, value in parse_qsl(query)]
    return f"{place}?{urlencode(revealed_ones, quote_via=quote)}" if revealed_ones else place
