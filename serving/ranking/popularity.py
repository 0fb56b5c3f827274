"""The published catalogue as this process knows it, and the ranking that needs no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from serving.limits import CATALOG_SIZE
from serving.replication.connection.redis_client import RedisClient


class CatalogSnapshot:
    """Popular and recent items, both best first, kept in this process so that requests are answered without Redis."""

    def __init__(self) -> None:
        self.popular: Mapping[str, float] = {}
        """Items with their popularity."""
        self.recent: Sequence[str] = []

    def refresh(self, client: RedisClient) -> None:
        """Read both lists. Raises redis.RedisError and keeps the previous ones when Redis does not answer."""
        with client.pipeline(transaction=False) as pipe:  # a full Redis 7 refuses all that is in a transaction
            pipe.zrange(client.names.popular, 0, CATALOG_SIZE - 1, desc=True, withscores=True)
            pipe.zrange(client.names.recent, 0, CATALOG_SIZE - 1, desc=True)
            popular, recent = pipe.execute()
        self.replace({name.decode(): float(score) for name, score in popular}, [name.decode() for name in recent])

    def replace(self, popular: Mapping[str, float], recent: Sequence[str]) -> None:
        """Replace both lists."""
        self.popular, self.recent = popular, recent


class PopularityScores:
    """Scores of the popularity ranking.

    >>> catalog = CatalogSnapshot()
    >>> catalog.replace({"a": 3.0, "b": 2.0}, [])
    >>> PopularityScores(catalog).of(["b", "z", "a"])
    [2.0, 0.0, 3.0]
    """

    def __init__(self, catalog: CatalogSnapshot) -> None:
        self._catalog = catalog

    def of(self, items: Iterable[str]) -> list[float]:
        """Popularity of each item; 0 for an unknown one."""
        popular = self._catalog.popular
        return [popular.get(item, 0.0) for item in items]
