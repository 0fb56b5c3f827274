"""Which trainer writes what all models share, and what becomes of the record of promotions."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import PromotionError
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ONLINE, KeyNames, ModelKeys
from serving.replication.promoter import Promoter, target_of_rollback
from serving.replication.promotions import Promotion, champion_of, history, promoted
from serving.replication.publish.lease import Holder, Lease
from serving.replication.publish.publisher import Publisher
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.publish.shared_facts import FILE, SharedFacts
from tests.serving.fakes import artefact, delta


def facts(client: RedisClient, model: str, folder: Path | None = None) -> SharedFacts:
    return SharedFacts(RedisWriter(client, model), model, folder)


def live(client: RedisClient, model: str) -> Lease:
    """A trainer publishes this model."""
    lease = Lease(client, model, Holder(model, "here", 1, "aa", 0))
    lease.transaction()
    return lease


def published(client: RedisClient, model: str) -> None:
    made = Publisher(client, model)
    made.begin("aa")
    made.publish(delta(1, {1: 1.0}, full=True))
    made.publish_artefact(artefact(step=1))


def promotion(version: int, model: str, by: str = "a@b") -> Promotion:
    return Promotion(version, model, "step-1", 5, by)


def promote(client: RedisClient, version: int, model: str, by: str = "a@b") -> None:
    promoter = Promoter(client)
    promoter.append(promotion(version, model, by), promoter.candidate(model))


def test_a_challenger_writes_no_facts_while_the_champion_has_a_trainer(client: RedisClient) -> None:
    lease = live(client, ONLINE)
    assert facts(client, ONLINE).owned(caught_up=False)
    assert not facts(client, "wide").owned(caught_up=True)
    lease.release()
    assert facts(client, "wide").owned(caught_up=True), "else nobody would"
    assert not facts(client, "wide").owned(caught_up=False), "they would be old"


def test_with_a_promotion_the_facts_change_hands(client: RedisClient) -> None:
    live(client, ONLINE)
    live(client, "wide")
    published(client, "wide")
    promote(client, 1, "wide")
    assert facts(client, "wide").owned(caught_up=False)
    assert not facts(client, ONLINE).owned(caught_up=True)


def test_the_layouts_that_the_champions_trainer_counts_are_known(client: RedisClient) -> None:
    assert facts(client, "wide").layouts_of_champion() == frozenset()
    Publisher(client, ONLINE).publish_status({"counted": ["3f"]})
    assert facts(client, "wide").layouts_of_champion() == {"3f"}


@pytest.mark.parametrize("again", [False, True], ids=["it runs", "it was started again"])
def test_a_trainer_puts_the_record_back_after_redis_was_emptied(
    client: RedisClient, tmp_path: Path, again: bool
) -> None:
    published(client, "wide")
    promote(client, 1, "wide")
    promote(client, 2, "wide")
    trainer = facts(client, "wide", tmp_path)
    assert trainer.champion() == "wide"
    client.flushall()
    assert promoted(client) is None
    assert (facts(client, "wide", tmp_path) if again else trainer).champion() == "wide"
    assert [one.version for one in history(client)] == [1, 2]


def test_what_redis_has_is_not_replaced_by_an_older_or_another_copy(client: RedisClient, tmp_path: Path) -> None:
    published(client, "wide")
    promote(client, 1, "wide")
    assert facts(client, "wide", tmp_path).champion() == "wide"
    published(client, ONLINE)
    promote(client, 2, ONLINE)
    assert facts(client, "wide", tmp_path).champion() == ONLINE
    client.delete(KeyNames().promotions)
    promote(client, 1, "wide", by="someone@else")
    assert facts(client, "wide", tmp_path).champion() == "wide"
    assert [one.by for one in history(client)] == ["someone@else"]


def test_a_copy_that_cannot_be_read_is_left_out(client: RedisClient, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[torn")
    assert facts(client, "wide", tmp_path).champion() == ONLINE


def test_a_record_of_another_version_stops_no_trainer_and_is_not_replaced(client: RedisClient, tmp_path: Path) -> None:
    published(client, "wide")
    promote(client, 1, "wide")
    trainer = facts(client, "wide", tmp_path)
    assert trainer.champion() == "wide"
    client.rpush(KeyNames().promotions, b'{"model": 7}')
    assert trainer.champion() == "wide"
    assert promoted(client) is None, "servers keep the champion that they have"
    with pytest.raises(PromotionError, match="of another version of recsys"):
        history(client)
    assert client.llen(KeyNames().promotions) == 2


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(client: RedisClient) -> None:
    published(client, "wide")
    published(client, "deep")
    told: list[str] = []
    together = threading.Barrier(2)

    def run(model: str) -> None:
        promoter = Promoter(client)
        found, version = promoter.candidate(model), len(promoter.history()) + 1
        together.wait(120)
        try:
            promoter.append(promotion(version, model, by=model), found)
        except PromotionError as error:
            told.append(str(error))

    for number in range(1, 11):
        both = [threading.Thread(target=run, args=[model]) for model in ("wide", "deep")]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert len(history(client)) == number
        assert len(told) == number
        assert f"{history(client)[-1].by} has made model" in told[-1]


def test_a_model_that_is_lost_before_the_transaction_is_not_promoted(client: RedisClient) -> None:
    published(client, "wide")
    found = Promoter(client).candidate("wide")
    client.delete(ModelKeys("wide", "aa").artefact)
    with pytest.raises(PromotionError, match="replaced or lost"):
        Promoter(client).append(promotion(1, "wide"), found)
    assert history(client) == []


@pytest.mark.parametrize(("lost", "named"), [("artefact", "graph"), ("sequences", "rows")])
def test_a_model_of_which_redis_lacks_a_part_is_no_candidate(client: RedisClient, lost: str, named: str) -> None:
    published(client, "wide")
    named_keys = getattr(ModelKeys("wide", "aa"), lost)
    client.delete(*([named_keys] if isinstance(named_keys, str) else named_keys))
    with pytest.raises(PromotionError, match=f"has lost the {named} of model 'wide' .*start its trainer"):
        Promoter(client).candidate("wide")


def test_an_unknown_model_is_told_which_there_are(client: RedisClient) -> None:
    published(client, "wide")
    with pytest.raises(PromotionError, match=r"no model 'deep' is published; there are: wide\. Train it"):
        Promoter(client).candidate("deep")


def test_a_frozen_model_may_be_promoted(client: RedisClient) -> None:
    published(client, "wide")
    Publisher(client, "wide").freeze("kept")
    promote(client, 1, "kept")
    assert promoted(client) == "kept"


RECORD = [promotion(1, "wide"), promotion(2, "deep"), promotion(3, ONLINE), promotion(4, ONLINE)]


@pytest.mark.parametrize(
    ("count", "version", "target"),
    [(1, None, (0, ONLINE)), (2, None, (1, "wide")), (2, 0, (0, ONLINE)), (4, None, (2, "deep"))],
)
def test_rollback_goes_to_the_last_other_model_or_to_the_named_version(
    count: int, version: int | None, target: tuple[int, str]
) -> None:
    assert target_of_rollback(RECORD[:count], version) == target


@pytest.mark.parametrize(
    ("count", "version", "reason"),
    [(0, None, "nothing to go back to"), (2, 7, "no version 7: .*0 to 2"), (4, 0, "is model 'online', which is")],
)
def test_a_rollback_to_nothing_is_refused(count: int, version: int | None, reason: str) -> None:
    with pytest.raises(PromotionError, match=reason):
        target_of_rollback(RECORD[:count], version)


def chosen(*steps: str) -> list[Promotion]:
    """A record of promotions, by name, and of rollbacks without a version, each written `<`."""
    record: list[Promotion] = []
    for step in steps:
        model = target_of_rollback(record, None)[1] if step == "<" else step
        record.append(msgspec.structs.replace(promotion(len(record) + 1, model), rolled_back=step == "<"))
    return record


@pytest.mark.parametrize(
    ("steps", "champion"),
    [
        (("a", "b", "<"), "a"),
        (("a", "b", "<", "<"), ONLINE),
        (("a", "b", "<", "c", "<"), "a"),
        (("a", "b", "<", "c", "<", "<"), ONLINE),
        (("a", "b", "a", "<"), "b"),
        (("a", "b", "a", "<", "<"), "a"),
    ],
)
def test_another_rollback_goes_further_back(steps: tuple[str, ...], champion: str) -> None:
    assert champion_of(chosen(*steps)) == champion


def test_when_all_is_rolled_back_it_is_said_how_to_return() -> None:
    with pytest.raises(PromotionError, match=r"rolled back\. To return .* version: 1 \(a\), 2 \(b\), 3 \(a\)"):
        chosen("a", "b", "<", "<", "<")
    undone = chosen("a", "b", "<", "<")
    assert target_of_rollback(undone, 2) == (2, "b")
    again = [*undone, msgspec.structs.replace(promotion(5, "b"), rolled_back=True)]
    assert target_of_rollback(again, None) == (0, ONLINE)


@given(st.lists(st.sampled_from([ONLINE, "a", "b", "<"]), max_size=12))
def test_rollbacks_end_at_the_first_model(steps: list[str]) -> None:
    record: list[Promotion] = []
    for step in steps:
        if step != "<" and champion_of(record) != step:
            record.append(promotion(len(record) + 1, step))
        elif step == "<":
            with contextlib.suppress(PromotionError):
                model = target_of_rollback(record, None)[1]
                record.append(msgspec.structs.replace(promotion(len(record) + 1, model), rolled_back=True))
    for _ in range(len(record) + 1):
        try:
            _, model = target_of_rollback(record, None)
        except PromotionError:
            break
        record.append(msgspec.structs.replace(promotion(len(record) + 1, model), rolled_back=True))
    assert champion_of(record) == ONLINE
    with pytest.raises(PromotionError, match="nothing to go back to"):
        target_of_rollback(record, None)
