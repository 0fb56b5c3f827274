"""A replay measures what production would have done: no label before its time, and the same bytes again."""

import random
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from recsys import wiring
from recsys.config.sections.learning.models import SECTIONS
from recsys.evaluation.replay.arms import frozen, online
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.learned_batches import read_once
from recsys.evaluation.replay.online_stage import OnlineStage, Share, online_stage
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.evaluation.replay.training_pass import Replay
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate
from streaming.ingest.codec import encode_events
from streaming.log.event_log import Chunk, EventLog
from streaming.log.memory_log import MemoryLog
from tests.recsys.evaluation.replay.worlds import HOUR, START, WAIT, config, log_of, moving_taste

pytestmark = pytest.mark.slow

SPLIT = START + 4 * HOUR
END = START + 8 * HOUR


def scores_of(events: Sequence[Event], refreshes: Sequence[str] = ("1h", "10m")) -> dict[str, npt.NDArray[np.float32]]:
    """What each arm said about every row after `SPLIT`, in order of time."""
    settings, log = config(), log_of(events)
    rows = ScoredRows(outcomes(wiring.feed(settings, log, labels="held")), SPLIT, END)
    arms = [frozen(SPLIT), *(online(refresh, SPLIT, rows.times_R) for refresh in refreshes)]
    replay = Replay(wiring.learner(settings), wiring.feed(settings, log), rows, arms)
    return {one.arm.name: one.scores_R for one in replay.run(END)}


def staged(log: EventLog, split: int | Share) -> OnlineStage:
    with read_once(config(), log) as learned:
        return online_stage(learned, 1, split)


def replayed(events: Sequence[Event], *refreshes: str) -> ReplayResult:
    return evaluate(config(), log_of(events), batch_until=SPLIT, refreshes=refreshes)


@pytest.fixture(scope="module")
def result() -> ReplayResult:
    return replayed(moving_taste(), "4h", "1h", "10m")


def test_where_taste_moves_a_fresher_model_is_better(result: ReplayResult) -> None:
    auc = {arm.name: arm.interval_auc or 0.0 for arm in result.arms}
    assert auc["online@10m"] > auc["online@1h"] > auc["frozen"]
    assert auc["online@10m"] > 0.65
    ten_minutes = result.arm("online@10m").gains[0]
    assert ten_minutes.over == "frozen"
    assert (ten_minutes.auc or 0) > 0.1


def test_an_arm_whose_interval_never_ends_is_the_frozen_one(result: ReplayResult) -> None:
    assert result.arm("online@4h").scores_sha256 == result.arm("frozen").scores_sha256


def test_the_same_log_configuration_and_seed_give_the_same_bytes(result: ReplayResult) -> None:
    assert replayed(moving_taste(), "4h", "1h", "10m").to_json() == result.to_json()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_model_is_replayed(name: str) -> None:
    chosen = config().model_copy(update={"model": SECTIONS[name].model_validate({})})
    found = evaluate(chosen, log_of(moving_taste(2, 60)), batch_until=START + HOUR, refreshes=["30m"])
    assert [arm.name for arm in found.arms] == ["frozen", "online@30m"]
    assert found.counts["rows_scored"] == 120
    assert all(0 < (arm.all["auc"] or 0) < 1 for arm in found.arms)


def test_another_seed_gives_other_scores(result: ReplayResult) -> None:
    other = evaluate(config(seed=7), log_of(moving_taste()), batch_until=SPLIT, refreshes=["10m"])
    assert other.arm("frozen").scores_sha256 != result.arm("frozen").scores_sha256


def test_an_arm_does_not_depend_on_the_arms_beside_it(result: ReplayResult) -> None:
    alone = replayed(moving_taste(), "10m")
    assert alone.arm("online@10m").scores_sha256 == result.arm("online@10m").scores_sha256


def test_counts_add_up(result: ReplayResult) -> None:
    impressions = 8 * 120
    assert result.counts["items_shown"] == 2 * impressions
    assert result.counts["rows_scored"] == impressions == sum(window.rows for window in result.windows)
    assert result.counts["positives_scored"] == impressions // 2
    learned = result.counts["examples_learned"]
    assert 2 * impressions - 16 - 2 * 120 <= learned < 2 * impressions
    for arm in result.arms:
        assert sum(arm.slices[name]["rows"] or 0 for name in ("known user", "new user")) == impressions


def test_new_users_become_known_to_the_online_arm_only(result: ReplayResult) -> None:
    assert (result.arms[0].slices["new user"]["rows"] or 0) > 0
    assert (result.arm("online@10m").known_users or 0) > (result.arm("frozen").known_users or 0)


@pytest.mark.parametrize("boundary", [SPLIT, SPLIT + HOUR, SPLIT + 2 * HOUR + 600_000])
def test_labels_of_the_future_leave_all_earlier_scores_untouched(boundary: int) -> None:
    """Interactions at or after `boundary` are given to other impressions; every score up to there stays, to the bit."""
    events = moving_taste()
    future = [event for event in events if isinstance(event, Interaction) and event.time >= boundary]
    fates = [event.impression for event in future]
    random.Random(1).shuffle(fates)
    shown = {event.id: event.items for event in events if isinstance(event, Impression)}
    moved = iter(
        msgspec.structs.replace(event, impression=fate, item=shown[fate][0])
        for event, fate in zip(future, fates, strict=True)
    )
    permuted = [next(moved) if isinstance(event, Interaction) and event.time >= boundary else event for event in events]
    times = [event.time for event in events if isinstance(event, Impression) and event.time >= SPLIT]
    before = 2 * sum(time < boundary + 600_000 for time in times)
    original, changed = scores_of(events, ["10m"]), scores_of(permuted, ["10m"])
    assert (original["frozen"] == changed["frozen"]).all()
    assert (original["online@10m"][:before] == changed["online@10m"][:before]).all()
    if before < len(original["online@10m"]):
        assert (original["online@10m"][before:] != changed["online@10m"][before:]).any()


def test_a_label_that_arrives_after_a_refresh_is_learned_after_it() -> None:
    """All clicks on one hour's impressions come within their window, after the refresh: it knows none of them."""
    boundary = SPLIT + 2 * HOUR
    window = (boundary - WAIT, boundary)
    late = [
        msgspec.structs.replace(event, time=boundary + 1)
        if isinstance(event, Interaction) and window[0] <= event.time < window[1]
        else event
        for event in moving_taste()
    ]
    without = [event for event in late if not (isinstance(event, Interaction) and event.time == boundary + 1)]
    assert len(late) - len(without) == 2
    late.sort(key=lambda event: event.time)
    without.sort(key=lambda event: event.time)
    hour = slice(2 * 120 * 2, 2 * 120 * 3)
    assert (scores_of(late)["online@1h"][hour] == scores_of(without)["online@1h"][hour]).all()
    assert (scores_of(late)["online@1h"] != scores_of(without)["online@1h"]).any()


def test_features_are_those_of_the_impressions_time() -> None:
    """An item's update after the last impression changes no score."""
    events = moving_taste(hours=6)
    settings = config().model_copy(
        update={"features": config().features.model_validate({"fields": [{"name": "kind", "source": "item.kind"}]})}
    )
    first = ItemUpdate(time=START, item="i0", features={"kind": "a"}, id="a")
    late = ItemUpdate(time=START + 6 * HOUR, item="i0", features={"kind": "b"}, id="b")

    def evaluated(told: Sequence[Event]) -> list[str]:
        result = evaluate(settings, log_of(told), batch_until=SPLIT, refreshes=["1h"], until=START + 6 * HOUR)
        return [arm.scores_sha256 for arm in result.arms]

    assert evaluated([first, *events, late]) == evaluated([first, *events])
    assert evaluated([first, *events]) != evaluated([*events])


def test_a_log_of_impressions_alone_has_no_auc_and_no_error() -> None:
    result = replayed([event for event in moving_taste() if isinstance(event, Impression)], "1h")
    assert result.counts["positives_scored"] == 0
    assert [arm.interval_auc for arm in result.arms] == [None, None]
    assert all(arm.all["log_loss"] is not None for arm in result.arms)


@pytest.mark.parametrize(
    ("events", "message"),
    [([], "no impressions"), (moving_taste(hours=2), "2017-07-14T02:00:00")],
)
def test_nothing_to_evaluate_is_said(events: list[Event], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replayed(events, "1h")


def test_a_share_of_the_log_is_a_time() -> None:
    by_share, by_time = (staged(log_of(moving_taste()), split) for split in (Share(0.5), SPLIT))
    assert by_share.shown == by_time.shown == 2 * 8 * 120
    assert by_share.start == by_time.start == SPLIT
    assert by_share.rows.times_R.tolist() == by_time.rows.times_R.tolist()
    with pytest.raises(ValueError, match=r"0\.8"):
        Share(80)
    with pytest.raises(ValueError, match="no impressions"):
        staged(log_of([]), Share(0.8))


class Counting(MemoryLog):
    """Counts the events that are read of it."""

    events_read = 0

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        chunk = super().read(partition, offset, max_events)
        self.events_read += chunk.events.num_rows
        return chunk


@pytest.mark.parametrize("split", [SPLIT, Share(0.5)])
def test_the_log_is_read_once_for_the_rows_and_to_train(split: int | Share) -> None:
    events, log = moving_taste(), Counting()
    log.append(encode_events(events))
    result = evaluate(config(), log, batch_until=split, refreshes=["1h"])
    assert log.events_read == len(events)
    assert result.counts["rows_scored"] == result.counts["items_shown"] // 2


def test_impressions_that_cannot_be_used_are_named() -> None:
    """A click at the end of the log closes all windows before the impressions come."""
    click = Interaction(time=END, impression="gone", item="i0")
    shown = Impression(id="late", time=START, user="u", items=["i0"])
    with pytest.raises(ValueError, match="1 impressions that came after their window had closed"):
        staged(log_of([click, shown]), SPLIT)
