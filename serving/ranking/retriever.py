"""Candidates for `POST /v1/recommend`: popular items, with room kept for new ones."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import islice

import redis

from serving.replication import keys


class Retriever:
    """Popular and recent items, held in this process so that there is an answer while Redis is gone.

    `recent_share` of the candidates, at least, are the most recent items, if there are as many.
    """

    def __init__(self, recent_share: float, most_items: int = 10_000) -> None:
        if not 0 <= recent_share <= 1:
            raise ValueError(f"recent_share is {recent_share}: it must be between 0 and 1")
        self._recent_share = recent_share
        self._most = most_items
        self._popular: dict[str, float] = {}
        self._recent: list[str] = []

    def refresh(self, client: redis.Redis) -> None:
        """Read both sources. Raises redis.RedisError and keeps what it had when Redis is gone."""
        with client.pipeline(transaction=True) as pipe:
            pipe.zrange(keys.POPULAR, 0, self._most - 1, desc=True, withscores=True)
            pipe.zrange(keys.RECENT, 0, self._most - 1, desc=True)
            popular, recent = pipe.execute()
        self.replace({name.decode(): float(score) for name, score in popular}, [name.decode() for name in recent])

    def replace(self, popular: dict[str, float], recent: list[str]) -> None:
        """Take these sources, both best first."""
        self._popular, self._recent = popular, recent

    def popularity(self, items: Iterable[str]) -> list[float]:
        """Popularity of each item, 0 where unknown."""
        popular = self._popular
        return [popular.get(item, 0.0) for item in items]

    def retrieve(self, count: int, exclude: AbstractSet[str] = frozenset()) -> list[str]:
        """At most `count` different items: the slots of recent ones, then popular ones, then whatever is left.

        >>> retriever = Retriever(recent_share=0.5)
        >>> retriever.replace({"a": 3.0, "b": 2.0, "c": 1.0}, ["c", "d"])
        >>> retriever.retrieve(4, exclude={"b"})
        ['c', 'd', 'a']
        """
        popular, recent = self._popular, self._recent
        slots = round(count * self._recent_share)
        chosen = dict.fromkeys(islice((i for i in recent if i not in exclude), slots))
        for source in (popular, recent):
            wanted = (i for i in source if i not in exclude and i not in chosen)
            chosen.update(dict.fromkeys(list(islice(wanted, count - len(chosen)))))
        return list(chosen)
