from __future__ import annotations

from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.experiments.assignment import Arm
from serving.limits import CATALOG_SIZE, Limits
from serving.ranking.popularity import CatalogSnapshot, PopularityScores
from serving.ranking.retriever import Candidates, CatalogRetriever, RetrievalQuery
from serving.replication.embedded_redis import connect
from serving.replication.publisher import Publisher

names = st.lists(st.sampled_from("abcdefghij"), unique=True)
QUERY = RetrievalQuery("u", 1_000, {}, Arm("online"))


def catalog(popular: dict[str, float], recent: list[str]) -> CatalogSnapshot:
    made = CatalogSnapshot()
    made.replace(popular, recent)
    return made


@given(names, names, st.integers(1, 12), st.floats(0, 1), st.sets(st.sampled_from("abcdefghij")))
def test_candidates_differ_are_allowed_and_as_many_as_there_are(
    popular: list[str], recent: list[str], count: int, share: float, exclude: set[str]
) -> None:
    retriever = CatalogRetriever(catalog(dict.fromkeys(popular, 1.0), recent), share)
    found = retriever.retrieve(QUERY, count, exclude)
    allowed = (set(popular) | set(recent)) - exclude
    assert len(found.ids) == len(set(found.ids)) == min(count, len(allowed))
    assert set(found.ids) <= allowed
    fresh = [item for item in recent if item not in exclude][: round(count * share)]
    assert set(fresh) <= set(found.ids)
    sources = {"popular": set(popular), "recent": set(recent)}
    assert all(item in sources[source] for item, source in zip(found.ids, found.source, strict=True))


def test_recent_items_have_their_places_first() -> None:
    retriever = CatalogRetriever(catalog({"a": 3.0, "b": 2.0, "c": 1.0}, ["c", "d"]), recent_share=0.5)
    assert retriever.retrieve(QUERY, 4, exclude={"b"}) == Candidates(["c", "d", "a"], ["recent", "recent", "popular"])


def test_it_reads_what_the_publisher_wrote(client: redis.Redis) -> None:
    Publisher(client, "m").publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [("z", 30), ("y", 20)])
    snapshot = CatalogSnapshot()
    snapshot.refresh(client)
    assert CatalogRetriever(snapshot, 0.25).retrieve(QUERY, 4).ids == ["z", "a", "b", "c"]
    assert PopularityScores(snapshot).of(["b", "z"]) == [2.0, 0.0]


def test_without_redis_it_keeps_what_it_had(tmp_path: Path) -> None:
    snapshot = catalog({"a": 1.0}, [])
    with pytest.raises(redis.ConnectionError):
        snapshot.refresh(connect(folder=tmp_path))
    assert CatalogRetriever(snapshot, 0.0).retrieve(QUERY, 5).ids == ["a"]


def test_a_share_is_a_share() -> None:
    with pytest.raises(InvalidValueError, match="between 0 and 1"):
        CatalogRetriever(CatalogSnapshot(), 1.5)


def test_no_more_is_retrieved_than_is_published() -> None:
    assert Limits(retrieve=2 * CATALOG_SIZE).retrieve == 2000
    with pytest.raises(InvalidValueError, match="1000 popular and 1000 recent items are published"):
        Limits(retrieve=2 * CATALOG_SIZE + 1)
