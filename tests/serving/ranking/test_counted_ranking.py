"""A ranking with features that the stream computes: used, and logged as they were used."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.api.messages.schemas import RankRequest
from serving.local_ranking import Answer, LocalRanking
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.publisher import Publisher
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.windows.streamed_features import StreamedFeatures
from tests.serving.fakes import Graphs, artefact, delta

START = 1_700_000_000_000
RATE, CLICKS = "item.rate(click, 1h)", "user.count(click, 1h)"
SPEC = FeatureSpec.of(
    [
        Field("item", "categorical", "item"),
        Field("rate", "numeric", RATE, scale="none"),
        Field("clicks", "numeric", CLICKS, scale="none"),
    ]
)


def ranked(client: RedisClient, folder: Path, asked: RankRequest) -> Answer:
    """The answer after one list of two items, of which one was clicked."""
    stream = StreamedFeatures(SPEC.streamed, 10, 60_000, 10)
    shown = Impression(id="i", time=START, user="u", items=["a", "b"])
    stream.take(encode_events([shown, Interaction(time=START + 1, impression="i", item="b")]))
    publisher = Publisher(client, "online", retries=0)
    publisher.publish(delta(1, {}, full=True))
    publisher.publish_artefact(artefact(spec=SPEC))
    publisher.publish_records(stream.drain_changes())
    local = LocalRanking(Settings(redis_folder=folder), Graphs())
    try:
        return local.rank(asked)
    finally:
        local.close()


def test_counters_order_the_items_and_are_logged_as_used(client: RedisClient, redis_folder: Path) -> None:
    answer = ranked(client, redis_folder, RankRequest(user="u", items=["a", "b"], time=START + 1000))
    assert answer.degraded == ()
    assert answer.shown.items == ["b", "a"]
    assert answer.shown.item_features == {RATE: [1.0, 0.0]}
    assert answer.shown.features == {CLICKS: 1.0}


@pytest.mark.parametrize("time", [START + 1000, START + 2 * 3_600_000])
def test_what_the_request_gives_goes_first_and_windows_end(client: RedisClient, redis_folder: Path, time: int) -> None:
    asked = RankRequest(user="u", items=["a", "b"], time=time, item_features={RATE: [0.5, 0.25]})
    answer = ranked(client, redis_folder, asked)
    assert (answer.shown.items, answer.shown.item_features) == (["a", "b"], {RATE: [0.5, 0.25]})
    assert answer.shown.features == {CLICKS: float(time == START + 1000)}
