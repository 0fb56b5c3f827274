"""Which model is the champion: the list of all promotions in Redis, whose last entry says it.

One key is both the record and what servers and trainers go by, so that the two cannot differ. Functions raise
redis.RedisError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from recsys.errors import PromotionError
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ONLINE


class Promotion(msgspec.Struct, frozen=True):
    """A model became the champion."""

    version: int
    """From 1, in the order of time; version 0 is the model `online`, which nobody promoted."""
    model: str
    label: str
    """The version of its graph at that time, as `recsys_model` and impressions name it."""
    at: int
    """Milliseconds since the epoch."""
    by: str
    """Who, as user@host."""
    why: str = ""
    rolled_back: bool = False
    """Whether this went back to a version that was the champion before."""
    forced: list[str] = []
    """What spoke against it and was overridden."""
    judged: dict[str, Any] = {}
    """What it was judged by, see `recsys.evaluation.challenger`."""


def history(client: RedisClient) -> list[Promotion]:
    """All promotions, the oldest first. Raises PromotionError if another version wrote them."""
    return decoded(cast(list[bytes], client.lrange(client.names.promotions, 0, -1)))


def latest(client: RedisClient, count: int) -> list[Promotion]:
    """The last promotions, the newest first; none if another version wrote the record."""
    try:
        return decoded(cast(list[bytes], client.lrange(client.names.promotions, -count, -1)))[::-1]
    except PromotionError:
        return []


def decoded(entries: Sequence[bytes]) -> list[Promotion]:
    """Raises PromotionError if another version wrote them."""
    try:
        return [msgspec.json.decode(entry, type=Promotion) for entry in entries]
    except msgspec.DecodeError as error:
        raise PromotionError(
            f"the record of promotions in Redis is of another version of recsys: use that one, or update this: {error}"
        ) from error


def promoted(client: RedisClient) -> str | None:
    """The model that was promoted last; None if Redis knows of none, or another version wrote the record."""
    last = cast(bytes | None, client.lindex(client.names.promotions, -1))
    try:
        return None if last is None else msgspec.json.decode(last, type=Promotion).model
    except msgspec.DecodeError:
        return None


def champion_of(promotions: Sequence[Promotion]) -> str:
    """The champion after these promotions.

    >>> champion_of([])
    'online'
    """
    return promotions[-1].model if promotions else ONLINE
