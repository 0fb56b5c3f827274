"""API keys: who may call which routes. A configuration has their hashes; the keys themselves are with the clients."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Scope = Literal["rank", "events", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("rank", "events", "admin")

_SPELLED = "letters of English, digits, ., _ and -, begin with a letter or digit, and have at most 64 characters"
_PREFIX = "recsys_"
_KEY = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


class ApiKey(BaseModel):
    """A key as the configuration has it.

    The hash is a plain SHA-256: a key has 256 random bits, so there is nothing that a guesser could try first, and a
    hash made slow for passwords would only cost each request its milliseconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description=_SPELLED)]
    """Names the key in messages and metrics."""
    scopes: Annotated[list[Scope], Field(min_length=1)]
    """What it opens: `rank` (rankings), `events`, `admin` (experiments, metrics, the state of trainers)."""
    sha256: Annotated[str, Field(repr=False)]
    """Of the key, in hexadecimal."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most requests a second in the long run; as many may come at once. Without it there is no limit."""

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", value):  # the value is not told: it may be the key
            raise ValueError("must be 64 hexadecimal digits, as `recsys key create` prints them")
        return value

    def shared(self, processes: int) -> ApiKey:
        """With what each of so many processes may let through."""
        return self if self.rate is None else self.model_copy(update={"rate": self.rate / processes})


def new_key(name: str, scopes: Sequence[Scope], rate: float | None = None) -> tuple[str, ApiKey]:
    """A key, which is stored nowhere, and what the configuration needs of it."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, ApiKey(name=name, scopes=list(scopes), sha256=hashed(key), rate=rate)


def hashed(key: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def without_keys(text: str) -> str:
    """The text with each key in it made unreadable.

    >>> without_keys('keys = "recsys_' + 43 * "a" + '"')
    'keys = "recsys_..."'
    """
    return _KEY.sub(_PREFIX + "...", text)
