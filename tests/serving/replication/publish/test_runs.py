"""A run beside another one: written apart, taken over whole, and removed in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from recsys.errors import InvalidValueError, PromotionError, RowsUnavailableError
from serving.cache.row_store import RedisRows
from serving.replication.connection.redis_client import RedisClient
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.health import Availability
from serving.replication.keys import ModelKeys
from serving.replication.promoter import Promoter
from serving.replication.publish.lease import Holder, Lease
from serving.replication.publish.publisher import Publisher
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.publish.served_run import KEEP, ServedRun
from serving.replication.shared_reads import served
from serving.replication.takeovers import Takeover
from serving.replication.trainer_status import rows_changed
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.serving.fakes import SPEC, Graphs, artefact, delta, ids
from tests.serving.following import following
from tests.serving.following import served as served_at
from tests.serving.waiting import until

OLD, NEW = "aa", "bb"
WIDER = FeatureSpec.of([*SPEC.fields, Field("hour", "categorical", "time.hour")])


def publisher(client: RedisClient, run: str, now: Callable[[], int] = lambda: 0) -> Publisher:
    made = Publisher(client, "m", now=now)
    made.begin(run)
    return made


@pytest.fixture
def live(client: RedisClient) -> Publisher:
    """A run that is served: its rows are 1, its graph is step 1."""
    made = publisher(client, OLD)
    made.publish(delta(1, {1: 1.0, 2: 1.0}, full=True))
    made.publish_artefact(artefact(step=1))
    return made


@pytest.fixture
def loader(client: RedisClient, redis_folder: Path) -> Iterator[ModelLoader]:
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as made:
        yield made


def rows_of(client: RedisClient, run: str) -> list[str]:
    return [key.decode() for key in cast(list[bytes], client.keys(ModelKeys("m", run).all_rows))]


def write_beside(client: RedisClient, now: Callable[[], int] = lambda: 0) -> Publisher:
    """All of a new run, with a field more; its rows are 7, its graph is step 2."""
    made = publisher(client, NEW, now)
    made.publish_artefact(artefact(step=2, spec=WIDER))
    made.publish(delta(1, {1: 7.0, 2: 7.0}, full=True))
    return made


def test_the_first_run_is_served_at_once(client: RedisClient, live: Publisher) -> None:
    assert served(client, "m") == OLD
    assert not live.waits()


def test_what_is_written_beside_the_served_run_changes_nothing_for_servers(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    model = served_at(loader, 1)
    assert values(loader) == (1, [1, 1])
    new = write_beside(client)
    new.publish(delta(2, {1: 8.0}))
    assert new.waits()
    live.publish(delta(2, {2: 3.0}))  # comes after all of the new run on the stream
    until(lambda: values(loader) == (1, [1, 3]))
    assert loader.current is model
    assert len(rows_of(client, OLD)) == len(rows_of(client, NEW)) == 2


def test_no_answer_mixes_rows_and_graph_while_a_run_takes_over_and_is_gone_back_from(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    """Who ranks all the while sees step 1 with rows 1 or step 2 with rows 7, and nothing else."""
    served_at(loader, 1)
    with ranking(loader) as seen:
        new = write_beside(client)
        new.take_over("step-2-bb")
        served_at(loader, 2)
        until(lambda: (2, (7.0, 7.0)) in seen)
        last = served_at(loader, 2)
        go_back(client)
        served_at(loader, 1)
        seen.discard((1, (1.0, 1.0)))
        until(lambda: (1, (1.0, 1.0)) in seen)
    assert seen == {(1, (1.0, 1.0)), (2, (7.0, 7.0))}
    assert last.artefact.version.startswith("step-2")


@contextmanager
def ranking(loader: ModelLoader) -> Iterator[set[tuple[int, tuple[float, ...]]]]:
    """Ranks in a thread, and gathers what steps and rows it sees."""
    seen: set[tuple[int, tuple[float, ...]]] = set()
    ended = threading.Event()

    def rank() -> None:
        while not ended.is_set():
            step, read = values(loader)
            seen.add((step, tuple(read)))

    thread = threading.Thread(target=rank)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_a_model_without_a_trainer_is_replaced_as_a_whole(client: RedisClient, loader: ModelLoader) -> None:
    def publish(step: int, value: float) -> None:
        rows = delta(1, {1: value, 2: value}, full=True)
        Publisher(client, "m", now=lambda: step).publish_whole(rows, artefact(step=step), "searched anew")

    publish(1, 1.0)
    first = served_at(loader, 1)
    with ranking(loader) as seen:
        publish(2, 7.0)
        served_at(loader, 2)
        until(lambda: (2, (7.0, 7.0)) in seen)
    assert seen - {(1, (1.0, 1.0))} == {(2, (7.0, 7.0))}
    assert first.rows.read({"item": ids(1, 2)}).rows["item"].values_ND[:, 0].tolist() == [1, 1]
    now, before = served(client, "m"), Promoter(client).run_before("m")
    assert None not in {now, before}
    assert [rows_changed(client, ModelKeys("m", run or "")) for run in (now, before)] == [2, 1]
    assert len(rows_of(client, now or "")) == len(rows_of(client, before or "")) == 2


def test_a_request_that_began_with_the_old_run_ends_with_its_rows(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    """Its rows are not cached yet, and the run is replaced in between."""
    old = served_at(loader, 1)
    write_beside(client).take_over("step-2-bb")
    served_at(loader, 2)
    assert old.rows.read({"item": ids(1)}).rows["item"].values_ND[0, 0] == 1


def test_the_run_that_was_replaced_stays_whole_until_its_time_is_up_and_never_reads_as_empty(
    client: RedisClient, live: Publisher
) -> None:
    clock = [1000]
    new = write_beside(client, lambda: clock[0])
    new.take_over("step-2-bb")
    keys = ModelKeys("m", OLD)
    clock[0] += KEEP - 1
    new.publish_status({})
    assert client.exists(keys.sequences[0], keys.artefact) == len(rows_of(client, OLD)) == 2
    assert client.smembers(keys.runs) == {OLD.encode(), NEW.encode()}
    store = RedisRows(client, "m", {"item": 4}, run=OLD)
    assert store.read({"item": ids(1)})["item"].found_N.all()
    clock[0] += 60_000
    new.publish_status({})
    assert not client.keys("recsys:m:aa:*")
    assert client.smembers(keys.runs) == {NEW.encode()}
    with pytest.raises(RowsUnavailableError, match="not in Redis"):
        store.read({"item": ids(1)})


def test_servers_have_a_minute_to_leave_a_run_that_is_not_to_be_kept(client: RedisClient, live: Publisher) -> None:
    clock = [1000]
    new = Publisher(client, "m", now=lambda: clock[0], keep_run=0)
    new.begin(NEW)
    new.publish_artefact(artefact(step=2))
    new.publish(delta(1, {1: 7.0}, full=True))
    new.take_over("step-2-bb")
    assert len(rows_of(client, OLD)) == 2
    clock[0] += 60_000
    new.publish_status({})
    assert not client.keys("recsys:m:aa:*")


def test_only_the_run_before_is_kept(client: RedisClient, live: Publisher) -> None:
    write_beside(client).take_over("step-2-bb")
    for run in ("cc", "dd"):
        newer = publisher(client, run)
        newer.publish_artefact(artefact(step=3))
        newer.publish(delta(1, {1: 9.0}, full=True))
        newer.take_over(f"step-3-{run}")
    kept = {key.split(b":")[2].decode() for key in cast(list[bytes], client.keys("recsys:m:*:*"))}
    assert kept == {"cc", "dd"}


def go_back(client: RedisClient) -> None:
    promoter = Promoter(client)
    last = promoter.takeovers("m")[-1]
    entry = Takeover(last.before, last.run, 0, "ada@here", rolled_back=True)
    promoter.go_back(promoter.candidate("m", last.before), entry)


def test_who_goes_back_while_a_graph_is_written_is_obeyed(
    client: RedisClient, live: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the trainer's look at which run is served and its notice of the graph."""
    new = write_beside(client)
    new.take_over("step-2-bb")
    write, gone_back = RedisWriter.set_one, []

    def written(self: RedisWriter, name: str, value: bytes) -> None:
        write(self, name, value)
        go_back(client)
        gone_back.append(name)

    monkeypatch.setattr(RedisWriter, "set_one", written)
    new.publish_artefact(artefact(step=3, spec=WIDER))
    assert gone_back == [ModelKeys("m", NEW).artefact]
    assert served(client, "m") == OLD
    assert Promoter(client).takeovers("m")[-1].by == "ada@here"


@pytest.mark.parametrize("leased", [False, True])
def test_no_run_is_replaced_that_the_new_one_was_not_compared_with(
    client: RedisClient, live: Publisher, leased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers are pointed to a third one while the rows of the new one are written, or in the last moment."""
    lease = Lease(client, "m", Holder.here("t", NEW)) if leased else None
    new = Publisher(client, "m", now=lambda: 0, lease=lease)
    new.begin(NEW)
    new.publish_artefact(artefact(step=2, spec=WIDER))
    new.publish(delta(1, {1: 7.0}, full=True))
    assert not new.take_over("step-2-bb", over="cc")
    other = ServedRun._other

    def late(self: ServedRun, run: str | None) -> str | None:
        found = other(self, run)
        client.set(ModelKeys("m").served, "cc")
        return found

    monkeypatch.setattr(ServedRun, "_other", late)
    assert not new.take_over("step-2-bb", over=OLD)
    assert served(client, "m") == "cc"
    assert not Promoter(client).takeovers("m")


def test_gone_back_to_the_run_before_servers_have_its_rows_with_its_graph(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    """And there and back again: the run that was gone back from is kept, too."""
    new = write_beside(client)
    new.take_over("step-2-bb", "it has read the log")
    served_at(loader, 2)
    go_back(client)
    served_at(loader, 1)
    assert values(loader) == (1, [1, 1])
    rival = new.runs.rival()
    assert rival is not None
    assert rival.gone_back is not None
    assert (rival.run, rival.gone_back.by) == (OLD, "ada@here")
    go_back(client)
    served_at(loader, 2)
    assert values(loader) == (2, [7, 7])
    assert [(one.before, one.run, one.rolled_back) for one in Promoter(client).takeovers("m")] == [
        (OLD, NEW, False),
        (NEW, OLD, True),
        (OLD, NEW, True),
    ]


def test_a_trainer_does_not_undo_that_somebody_has_gone_back_from_its_run(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    new = write_beside(client)
    new.take_over("step-2-bb")
    served_at(loader, 2)
    go_back(client)
    new.publish_artefact(artefact(step=3, spec=WIDER))
    new.publish(delta(2, {1: 8.0}))
    new.publish_status({})
    assert served(client, "m") == OLD
    assert len(rows_of(client, OLD)) == 2
    served_at(loader, 1)
    assert values(loader) == (1, [1, 1])


def test_a_run_that_is_being_removed_is_not_gone_back_to(client: RedisClient, live: Publisher) -> None:
    write_beside(client).take_over("step-2-bb")
    last, promoter = Promoter(client).takeovers("m")[-1], Promoter(client)
    assert promoter.run_before("m") == OLD
    found = promoter.candidate("m", OLD)
    client.delete(ModelKeys("m", OLD).artefact)  # which goes first
    assert promoter.run_before("m") is None
    with pytest.raises(PromotionError, match="in between"):
        promoter.go_back(found, Takeover(OLD, last.run, 0, "ada@here", rolled_back=True))
    assert served(client, "m") == NEW


def test_how_well_a_run_did_outlives_its_trainers_status(client: RedisClient, live: Publisher) -> None:
    figures = {"click": {"normalised_entropy": 0.8}}
    live.publish_status({"serves": True, "tasks": figures, "step": 7})
    new = write_beside(client)
    new.publish_status({"serves": False, "tasks": {"click": {"normalised_entropy": 0.9}}})
    rival = new.runs.rival()
    assert rival is not None
    assert (rival.run, rival.figures, rival.gone_back) == (OLD, figures, None)


def test_what_a_killed_trainer_left_is_removed_by_the_next(client: RedisClient, live: Publisher) -> None:
    half = publisher(client, "cc")
    half.publish(delta(1, {5: 5.0}, full=True))
    assert len(rows_of(client, "cc")) == 1
    write_beside(client)
    assert not client.keys("recsys:m:cc:*")
    assert len(rows_of(client, OLD)) == 2, "the served run is kept"


def test_a_run_whose_graph_never_came_does_not_stop_the_next(client: RedisClient) -> None:
    publisher(client, OLD).publish(delta(1, {1: 1.0}, full=True))
    new = write_beside(client)
    assert served(client, "m") == NEW
    assert not new.waits()


def test_after_redis_was_emptied_the_trainer_that_runs_serves(
    client: RedisClient, live: Publisher, loader: ModelLoader
) -> None:
    served_at(loader, 1)
    client.flushall()
    assert served(client, "m") is None
    write_beside(client)
    served_at(loader, 2)
    until(lambda: values(loader) == (2, [7, 7]))


def test_a_server_that_starts_in_between_follows_the_served_run(
    client: RedisClient, redis_folder: Path, live: Publisher
) -> None:
    new = write_beside(client)
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as started:
        served_at(started, 1)
        assert values(started) == (1, [1, 1])
        new.take_over("step-2-bb")
        served_at(started, 2)
        assert values(started) == (2, [7, 7])


def test_the_run_before_may_take_over_again(client: RedisClient, live: Publisher, loader: ModelLoader) -> None:
    """As when its trainer is started again: its rows no longer expire."""
    write_beside(client).take_over("step-2-bb")
    served_at(loader, 2)
    again = publisher(client, OLD)
    assert again.waits()
    again.publish_artefact(artefact(step=3))
    again.publish(delta(5, {1: 4.0, 2: 4.0}, full=True))
    again.take_over("step-3-aa")
    served_at(loader, 3)
    assert values(loader) == (3, [4, 4])
    keys = ModelKeys("m", OLD)
    assert all(client.pttl(key) == -1 for key in [keys.sequences[0], keys.artefact, *rows_of(client, OLD)])


def test_runs_of_other_models_are_left_alone(client: RedisClient, live: Publisher) -> None:
    other = Publisher(client, "n")
    other.begin("dd")
    other.publish(delta(1, {1: 2.0}, full=True))
    other.publish_artefact(artefact(step=9))
    assert (served(client, "m"), served(client, "n")) == (OLD, "dd")
    assert client.pttl(ModelKeys("m", OLD).sequences[0]) == -1


def test_the_served_run_is_what_is_frozen(client: RedisClient, live: Publisher, loader: ModelLoader) -> None:
    write_beside(client)
    Publisher(client, "m").freeze("frozen")
    frozen = RedisRows(client, "frozen", {"item": 4}).read({"item": ids(1)})["item"]
    assert frozen.values_ND[0, 0] == 1


def test_a_run_that_would_read_as_another_key_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="hexadecimal"):
        ModelKeys("m", "status")


def values(loader: ModelLoader) -> tuple[int, list[float]]:
    """The step of the current model, and what it reads of ids 1 and 2."""
    model = loader.current
    assert model is not None
    read = model.rows.read({"item": ids(1, 2)}).rows["item"].values_ND[:, 0]
    return model.artefact.step, [float(v) for v in read]
