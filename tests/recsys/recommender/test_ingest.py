"""What `Recommender.ingest` takes, and what it says."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys import Config, Recommender, wiring
from recsys.errors import InvalidValueError
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import encode_json, to_events
from streaming.log.event_log import read_range
from tests.recsys.recommender.conftest import START, config, world


def stored(recommender: Recommender) -> list[Event]:
    """The events of the log."""
    log = wiring.event_log(recommender.config)
    try:
        return [event for chunk in read_range(log, 0, 0, log.end()[0]) for event in to_events(chunk.events)]
    finally:
        log.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterable[Recommender]:
    with Recommender(config(), folder=tmp_path) as made:
        yield made


IMPRESSIONS = pd.DataFrame(
    {
        "id": ["a", "b"],
        "time": pd.to_datetime([START, START + 1], unit="ms"),
        "user": [7, 8],
        "items": [["tea", "cola"], ["water"]],
        "device": ["phone", None],
    }
)
EXPECTED = [
    Impression(id="a", time=START, user="7", items=["tea", "cola"], features={"device": "phone"}),
    Impression(id="b", time=START + 1, user="8", items=["water"], features={"device": None}),
]


class OfOtherLibrary:
    """A frame that speaks the Arrow PyCapsule interface and nothing else, as those of Polars do."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


class OfOldLibrary:
    """A frame that has the interchange protocol alone."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return self._table.__dataframe__(nan_as_null, allow_copy)


@pytest.mark.parametrize(
    "library",
    [
        lambda frame: frame,
        pa.Table.from_pandas,
        lambda frame: pa.Table.from_pandas(frame).to_batches()[0],
        lambda frame: pa.Table.from_pandas(frame).to_reader(),
        lambda frame: OfOtherLibrary(pa.Table.from_pandas(frame)),
        lambda frame: frame.set_index("id").reset_index().set_index(np.array([5, 6])),
    ],
    ids=["pandas", "table", "batch", "reader", "stream", "index"],
)
def test_frames_of_every_library(empty: Recommender, library: Callable[[Any], Any]) -> None:
    assert empty.ingest(library(IMPRESSIONS)).accepted == 2
    assert stored(empty) == EXPECTED


def test_a_frame_with_the_interchange_protocol_alone(empty: Recommender) -> None:
    table = pa.table({"user": ["u"], "time": [START], "age": [31]})
    assert empty.ingest(OfOldLibrary(table)).accepted == 1
    (event,) = stored(empty)
    assert (event.user, event.features) == ("u", {"age": 31})  # type: ignore[union-attr]


def test_the_names_of_columns_say_what_rows_are(empty: Recommender) -> None:
    empty.ingest(pd.DataFrame({"impression": ["a"], "item": ["tea"], "time": [START], "noise": [1]}))
    empty.ingest(pd.DataFrame({"user": ["u"], "time": [START], "country": ["br"]}))
    empty.ingest(pd.DataFrame({"item": ["tea"], "time": [START], "temperature": ["hot"], "price": [2.5]}))
    click, user, item = stored(empty)
    assert (type(click), click.impression, click.item) == (Interaction, "a", "tea")  # type: ignore[union-attr]
    assert (type(user), user.features) == (UserUpdate, {"country": "br"})  # type: ignore[union-attr]
    assert (type(item), item.features) == (ItemUpdate, {"temperature": "hot", "price": 2.5})  # type: ignore[union-attr]


def test_rows_with_a_label_are_lists_with_their_clicks(empty: Recommender) -> None:
    rows = {"time": [START, START + 60_000], "user": ["u", "v"], "item": ["tea", "cola"], "label": [1, 0]}
    empty.ingest(pd.DataFrame(rows | {"device": "desk", "temperature": ["hot", "cold"]}))
    first, click, second = stored(empty)
    assert isinstance(first, Impression)
    assert (first.items, first.features, first.item_features) == (["tea"], {"device": "desk"}, {"temperature": ["hot"]})
    assert isinstance(click, Interaction)
    assert (click.impression, click.item, click.action) == (first.id, "tea", "click")
    assert isinstance(second, Impression)
    assert second.items == ["cola"]


def test_columns_that_no_field_reads_are_said_to_be_left_out(empty: Recommender) -> None:
    rows = {"time": [START], "user": ["u"], "item": ["tea"], "label": [1], "device": "desk", "shelf": [3]}
    with pytest.warns(UserWarning, match="left out: shelf.*request.shelf or, of items, item.shelf"):
        done = empty.ingest(pd.DataFrame(rows))
    assert len(done.warnings) == 1


def test_rows_of_one_list_without_its_id_are_said_to_be_lists_of_their_own(empty: Recommender) -> None:
    together = {"time": [START, START, START + 1, START + 1], "user": ["u", "u", "v", "v"]}
    rows = together | {"item": ["tea", "cola"] * 2, "label": [1, 0, 0, 1]}
    with pytest.warns(UserWarning, match="Each row is a list of one item"):
        empty.ingest(pd.DataFrame(rows))
    empty.ingest(pd.DataFrame(rows | {"id": ["a", "a", "b", "b"]}))
    empty.ingest(pd.DataFrame(rows | {"time": [START + n for n in range(4)]}))


def test_rows_of_user_and_item_alone_are_feedback(empty: Recommender) -> None:
    rows = {
        "time": [START + n for n in range(40)],
        "user": [n % 8 for n in range(40)],
        "item": [n % 5 for n in range(40)],
    }
    empty.ingest(pd.DataFrame(rows))
    events = stored(empty)
    shown = [event for event in events if isinstance(event, Impression)]
    assert shown
    assert all(len(event.items) == 2 for event in shown)
    assert len(shown) == sum(isinstance(event, Interaction) for event in events)


def test_a_mapping_is_given_or_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": [1_767_225_600], "who": ["u"], "what": [["tea"]], "list": ["a"]})
    columns = {"time": "when", "user": "who", "items": "what", "id": "list"}
    mapping = {"kind": "impression", "columns": columns, "time_unit": "s"}
    with Recommender(config(), folder=tmp_path / "given") as made:
        made.ingest(frame, mapping=mapping)
        given = stored(made)
    named = Config.model_validate({"log": {"mapping": [mapping | {"files": "lists*.csv"}]}})
    with Recommender(named, folder=tmp_path / "named") as made:
        made.ingest(frame, mapping="lists.csv")
        assert stored(made) == given == [Impression(id="a", time=START, user="u", items=["tea"])]
        with pytest.raises(InvalidValueError, match=r"no \[\[log.mapping\]\] is for 'clicks.csv'"):
            made.ingest(frame, mapping="clicks.csv")
        with pytest.raises(InvalidValueError, match="mapping: kind: "):
            made.ingest(frame, mapping={"kind": "list"})


def test_paths_plain_and_compressed_and_several_at_once(empty: Recommender, tmp_path: Path) -> None:
    events = world(3)
    shown = [event for event in events if not isinstance(event, Interaction)]
    clicks = [event for event in events if isinstance(event, Interaction)]
    (tmp_path / "shown.jsonl").write_bytes(b"\n".join(map(encode_json, shown)))
    (tmp_path / "clicks.jsonl.gz").write_bytes(gzip.compress(b"\n".join(map(encode_json, clicks))))
    (tmp_path / "none.jsonl").touch()
    done = empty.ingest([tmp_path / "shown.jsonl", str(tmp_path / "clicks.jsonl.gz"), tmp_path / "none.jsonl"])
    assert done.accepted == len(events)
    assert [event.time for event in stored(empty)] == sorted(event.time for event in events)
    again = empty.ingest(str(tmp_path / "shown.jsonl"))
    assert (again.accepted, again.duplicate) == (0, len(shown))


def test_events_as_dicts_and_as_objects(empty: Recommender) -> None:
    events = world(3)
    as_dicts = [json.loads(encode_json(event)) for event in events]
    assert empty.ingest(event for event in as_dicts).accepted == len(events)
    assert empty.ingest(events).duplicate == len(events)
    assert empty.ingest(as_dicts[0]).duplicate == empty.ingest(events[0]).duplicate == 1
    one = {
        "type": "user",
        "time": np.int64(START),
        "user": "u",
        "features": {"age": np.float32(1.5), "tags": np.array(["a"])},
    }
    assert empty.ingest(one).accepted == 1
    assert stored(empty)[-1].features == {"age": 1.5, "tags": ["a"]}  # type: ignore[union-attr]
    assert empty.ingest([]).read == 0


def test_frames_that_belong_together_are_merged(empty: Recommender) -> None:
    clicks = pd.DataFrame({"impression": ["a", "b"], "item": ["tea", "water"], "time": [START, START + 1]})
    assert empty.ingest([IMPRESSIONS, clicks]).accepted == 4
    assert [type(event) for event in stored(empty)] == [Impression, Interaction] * 2


def test_a_frame_is_stored_once_and_a_changed_one_anew(empty: Recommender) -> None:
    frame = pd.DataFrame({"user": ["u", "v"], "time": [START, START], "age": [1, 2]})
    assert empty.ingest(frame).accepted == 2
    assert empty.ingest(frame.copy()).duplicate == 2
    frame["age"] = [2, 1]  # of the same size, with the same bounds
    assert empty.ingest(frame).accepted == 2


def test_the_result_says_what_was_refused_and_why(empty: Recommender) -> None:
    good, bad = world(2), [{"type": "user", "user": "u"}, {"type": "user", "user": "v"}, 3, {"type": object()}]
    done = empty.ingest([*good, *bad])
    assert (done.read, done.accepted, done.dead) == (len(good) + 4, len(good), 4)
    assert done.reasons["Object missing required field `time`"] == 2
    assert sum(done.reasons.values()) == 4
    assert done.span == (datetime.fromtimestamp(START / 1000, UTC), datetime.fromtimestamp(START / 1000 + 21, UTC))
    assert "4 dead-lettered" in repr(done)
    assert "2 x Object missing required field `time`" in repr(done)
    letters = [json.loads(line) for line in done.dead_letters.read_text().splitlines()]
    assert [letter["line"] for letter in letters] == [len(good) + n + 1 for n in range(4)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (3.5, "cannot ingest a float"),
        ("nowhere.csv", "nowhere.csv does not exist"),
        (Path(), "is a folder"),
        ([{"type": "user"}], "nothing was accepted"),
        (pd.DataFrame({"a": [1]}), "columns a has none of `items`"),
        (pd.DataFrame({"item": ["tea"]}), "needs time"),
        (pd.DataFrame({"item": ["tea", 3.5, object()]}), "does not become an Arrow table"),
    ],
    ids=["number", "missing", "folder", "refused", "names", "time", "types"],
)
def test_what_cannot_be_ingested_is_an_error_that_says_so(empty: Recommender, data: Any, words: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        empty.ingest(data)
    assert words in str(refused.value)
    assert stored(empty) == []


@pytest.mark.parametrize("kind", ["frame", "file", "events"])
def test_data_that_is_not_in_the_order_of_time_is_sorted(empty: Recommender, tmp_path: Path, kind: str) -> None:
    times = [START + 86_400_000 * day for day in (2, 0, 3, 1)]
    frame = pd.DataFrame({"id": list("cadb"), "time": times, "user": "u", "items": [["tea", "cola"]] * 4})
    events = [{"type": "impression", **row} for row in frame.to_dict("records")]
    path = tmp_path / "lists.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    data = {"frame": frame, "file": path, "events": iter(events)}[kind]
    done = empty.ingest(data, sort=True)
    assert (done.accepted, done.late) == (4, 0)
    assert [event.time for event in stored(empty)] == sorted(times)
    if kind == "events":
        others = [event | {"id": f"other-{event['id']}"} for event in events]
        with pytest.warns(UserWarning, match="3 events came more than"):  # later than those of the first call
            assert empty.ingest(others, sort=True).accepted == 4
    assert empty.ingest(events, sort=True).duplicate == 4


@pytest.mark.parametrize(
    "time", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), pd.Timestamp("2026-01-01T01:00+01:00")]
)
def test_an_event_may_have_a_datetime(empty: Recommender, time: datetime) -> None:
    empty.ingest({"type": "impression", "id": "a", "time": time, "user": "u", "items": ["tea"]})
    assert [event.time for event in stored(empty)] == [START]


def test_periods_are_not_taken_for_numbers(empty: Recommender) -> None:
    frame = IMPRESSIONS.assign(time=IMPRESSIONS["time"].dt.to_period("s"))
    with pytest.raises(InvalidValueError, match=r"column 'time' has periods: .*to_timestamp"):
        empty.ingest(frame)
    assert stored(empty) == []


def test_times_in_seconds_are_told(empty: Recommender) -> None:
    frame = pd.DataFrame({"id": ["a"], "time": [START // 1000], "user": ["u"], "items": [["tea"]]})
    with pytest.warns(UserWarning, match="Some times are in 1970, as seconds look") as told:
        done = empty.ingest(frame)
    assert done.accepted == 1
    assert done.warnings == tuple(str(one.message) for one in told)
    assert done.warnings[0] in repr(done)


def test_the_same_rows_at_other_times_are_told(empty: Recommender) -> None:
    def shown(time: int) -> dict[str, Any]:
        return {"type": "impression", "id": "a", "time": time, "user": "u", "items": ["tea"]}

    with pytest.warns(UserWarning, match="1970"):
        empty.ingest([shown(START // 1000)])
    with pytest.warns(UserWarning, match="1970|id of an event"):
        done = empty.ingest([shown(START), shown(START // 1000)])
    assert (done.dead, done.duplicate) == (1, 1)
    assert "1 records have the id of an event in the log" in done.warnings[-1]
    assert "name new folders in [log] url" in done.warnings[-1]


ROWS = {"user": ["u", "v"], "item": ["tea", "cola"], "time": [START, START + 1], "label": [0, 1]}


@pytest.mark.parametrize(
    ("name", "called", "taken"),
    [
        ("label", "clicked", "all taken as something that a user did"),
        ("label", "lable", "all taken as something that a user did"),
        ("label", "is_click", "all taken as something that a user did"),
        ("user", "usr", "new features of items"),
        ("user", "uesr", "new features of items"),
        ("user", "user_id", "new features of items"),
        ("item", "itm", "new features of users"),
    ],
)
def test_a_column_that_nearly_has_the_name_of_a_field_is_not_silent(
    empty: Recommender, name: str, called: str, taken: str
) -> None:
    frame = pd.DataFrame({called if column == name else column: values for column, values in ROWS.items()})
    with pytest.raises(InvalidValueError) as told:
        empty.ingest(frame)
    assert f"the column {called!r} looks like" in str(told.value)
    assert f"without that name rows are {taken}: rename it to" in str(told.value)
    assert stored(empty) == []
    fields = {"user": "user", "item": "item", "time": "time", "label": "actions.click"}
    columns = {field: called if column == name else column for column, field in fields.items()}
    assert empty.ingest(frame, mapping={"kind": "shown", "columns": columns}).accepted == 3


def test_columns_of_other_names_are_features_of_items_as_ever(empty: Recommender) -> None:
    frame = pd.DataFrame({"item": ["tea"], "time": [START], "temperature": ["hot"]})
    assert empty.ingest(frame).accepted == 1
    (event,) = stored(empty)
    assert isinstance(event, ItemUpdate)
    assert event.features == {"temperature": "hot"}
