from __future__ import annotations

from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from serving.ranking.retriever import Retriever
from serving.replication.embedded_redis import connect
from serving.replication.publisher import Publisher

names = st.lists(st.sampled_from("abcdefghij"), unique=True)


@given(names, names, st.integers(1, 12), st.floats(0, 1), st.sets(st.sampled_from("abcdefghij")))
def test_candidates_differ_are_allowed_and_as_many_as_there_are(
    popular: list[str], recent: list[str], count: int, share: float, exclude: set[str]
) -> None:
    retriever = Retriever(share)
    retriever.replace(dict.fromkeys(popular, 1.0), recent)
    found = retriever.retrieve(count, exclude)
    allowed = (set(popular) | set(recent)) - exclude
    assert len(found) == len(set(found)) == min(count, len(allowed))
    assert set(found) <= allowed
    fresh = [item for item in recent if item not in exclude][: round(count * share)]
    assert set(fresh) <= set(found)


def test_it_reads_what_the_publisher_wrote(client: redis.Redis) -> None:
    Publisher(client, "m").publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [("z", 30), ("y", 20)])
    retriever = Retriever(0.25)
    retriever.refresh(client)
    assert retriever.retrieve(4) == ["z", "a", "b", "c"]
    assert retriever.popularity(["b", "z"]) == [2.0, 0.0]


def test_without_redis_it_keeps_what_it_had(tmp_path: Path) -> None:
    retriever = Retriever(0.0)
    retriever.replace({"a": 1.0}, [])
    with pytest.raises(redis.ConnectionError):
        retriever.refresh(connect(folder=tmp_path))
    assert retriever.retrieve(5) == ["a"]


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Retriever(1.5)
