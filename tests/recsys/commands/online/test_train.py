"""`recsys train`, as a person meets it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.output.log_warnings import log_warnings
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate
from streaming.ingest.codec import encode_events

pytestmark = pytest.mark.slow

CONFIG = """
[features]
dim = 4
[features.tables.item]
capacity = {capacity}
[model]
name = "fm"
[training]
batch_size = 8
wait = "1s"
lateness = "0s"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Lists of eight items, none of them shown twice."""
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG.format(capacity=4))
    events: list[Event] = []
    for number in range(10):
        shown = [f"i{number}.{place}" for place in range(8)]
        events.append(Impression(id=f"n{number}", time=10_000 * number, user="u", items=shown))
        events.append(Interaction(time=10_000 * number, impression=f"n{number}", item=shown[0]))
    log = wiring.event_log(load(path))
    log.append(encode_events(events))
    log.close()
    return path


def train(config: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["train", "-c", str(config), "--once", "--no-publish", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_it_ends_with_the_counters_of_each_table(config: Path) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in train(config).splitlines() if line.strip()}
    item = dict(zip(rows["table"], map(float, rows["item"]), strict=True))
    batches = item["refused"] // 4
    assert batches > 5  # each of eight ids, for which there are four rows
    assert item.pop("MiB") >= 0
    assert item == {"live": 4, "evicted": 4 * (batches - 1), "refused": 4 * batches}


def test_a_table_too_small_for_a_batch_is_named_with_the_remedy(config: Path) -> None:
    said = " ".join(train(config, "--until", "1970-01-01T00:00:50").split())
    assert "look-ups of new ids were refused a row, because one batch has more distinct ids than capacity = 4" in said
    assert "raise it in [features.tables.item], or lower training.batch_size" in said
    config.write_text(CONFIG.format(capacity=100))
    resumed = train(config)
    assert "Resumed" in resumed
    assert "were refused" not in resumed


def empty(folder: Path, settings: str = "") -> Path:
    path = folder / "recsys.toml"
    path.write_text(settings or CONFIG.format(capacity=100))
    return path


def append(config: Path, events: list[Event]) -> None:
    log = wiring.event_log(load(config))
    log.append(encode_events(events))
    log.close()


def lists(count: int, **clicked: str) -> list[Event]:
    """Lists of two items, ten seconds apart; those of the numbers in `clicked` with an interaction beside them."""
    events: list[Event] = []
    for number in range(count):
        time = 10_000 * number
        events.append(Impression(id=f"n{number}", time=time, user="u", items=["a", "b"]))
        named = {"impression": f"n{number}", "item": "a", "action": "click"} | clicked
        if clicked:
            events.append(msgspec.convert({"type": "interaction", "time": time} | named, Interaction))
    return events


def said(config: Path, *command: str) -> str:
    result = CliRunner().invoke(main, [command[0], "-c", str(config), *command[1:]])
    return " ".join(result.output.split())


TRAIN = ("train", "--once", "--no-publish")


def test_a_log_without_events_is_told_from_one_without_labels(tmp_path: Path) -> None:
    config = empty(tmp_path)
    assert "Nothing learned: the log is empty" in said(config, *TRAIN)
    append(config, [Interaction(time=0, impression="n0", item="a")])
    assert "Nothing learned: the log has no impressions" in said(config, *TRAIN)


def test_what_was_lost_is_said_also_when_nothing_was_learned(tmp_path: Path) -> None:
    config = empty(tmp_path)
    append(config, [Interaction(time=0, impression="gone", item="a"), *lists(2)])
    (tmp_path / "run" / "dead-letters.jsonl").write_text("{}\n{}\n")
    text = said(config, *TRAIN)
    assert "no full batch of 8 labels" in text
    assert "1 interactions without their impression, 2 records refused by recsys ingest" in text


def test_that_nothing_was_lost_is_said_too(config: Path) -> None:
    assert "Nothing was lost: no event was late, unmatched or refused." in " ".join(train(config).split())


@pytest.mark.parametrize(
    ("clicked", "example"),
    [
        (
            {"impression": "N7"},
            "an interaction names impression 'N7' and item 'a', but there is no such impression; one is impression 'n0'"
            " with items 'a', 'b'.",
        ),
        ({"item": "A"}, "names impression 'n0' and item 'A', but that is impression 'n0' with items 'a', 'b'."),
    ],
)
def test_labels_that_are_all_negative_come_with_an_example_of_what_did_not_meet(
    tmp_path: Path, clicked: dict[str, str], example: str
) -> None:
    config = empty(tmp_path)
    append(config, lists(30, **clicked))
    for text in (said(config, *TRAIN), said(config, "replay", "--batch-until", "0.5", "--out", str(tmp_path / "out"))):
        assert "labels is positive: from one label only" in text
        assert example in text


def test_a_click_after_the_window_is_an_example_too(tmp_path: Path) -> None:
    config = empty(tmp_path)
    late = [Interaction(time=10_000 * number + 5_000, impression=f"n{number}", item="a") for number in range(30)]
    append(config, sorted([*lists(30), *late], key=lambda event: event.time))
    assert "'n0' and item 'a', 5s after it was shown: more than training.wait = 1s." in said(config, *TRAIN)


def test_labels_that_are_all_positive_are_warned_of(tmp_path: Path) -> None:
    config = empty(tmp_path)
    events: list[Event] = []
    for number in range(30):
        events.append(Impression(id=f"n{number}", time=10_000 * number, user="u", items=["a"]))
        events.append(Interaction(time=10_000 * number, impression=f"n{number}", item="a"))
    append(config, events)
    assert "All 24 labels are positive: from one label only" in said(config, *TRAIN)


def test_labels_of_both_kinds_are_no_reason_for_a_warning(config: Path) -> None:
    assert "from one label only" not in said(config, *TRAIN)


def test_positive_actions_that_the_log_does_not_have_are_named_with_those_it_has(tmp_path: Path) -> None:
    config = empty(tmp_path, CONFIG.format(capacity=100) + 'positive = ["click", "by"]\n')
    append(config, [*lists(30, item="a"), Interaction(time=300_000, impression="n29", item="b", action="buy")])
    warning = "training.positive names 'by', which no interaction in the log has; the actions there are 'click' (30), "
    for text in (said(config, *TRAIN), said(config, "replay", "--batch-until", "0.5", "--out", str(tmp_path / "out"))):
        assert warning + "'buy' (1)." in text
    config.write_text(CONFIG.format(capacity=100))
    assert "training.positive names" not in said(config, *TRAIN)


def test_interactions_that_decide_no_label_are_told(config: Path) -> None:
    log = wiring.event_log(load(config))
    log.append(encode_events([Interaction(time=100_000, impression="n9", item="i9.1", action="view")]))
    log.close()
    said = " ".join(train(config).split())
    assert "1 interactions in the log have actions that decide no label, and are not learned from: 'view' (1)" in said
    further = '\n[[tasks]]\nname = "view"\nactions = ["view"]\nwait = "1s"\n'
    config.write_text(config.read_text().replace("[training]", '[training]\ncheckpoints = "other"') + further)
    assert "decide no label" not in train(config)


HISTORY = """
[[features.fields]]
name = "item"
source = "item"
[[features.fields]]
name = "past"
kind = "multi"
source = "user.recent({action}, 5)"
table = "item"
"""


def test_an_action_of_a_field_that_the_log_does_not_have_is_named_with_those_it_has(tmp_path: Path) -> None:
    settings = CONFIG.format(capacity=100)
    config = empty(tmp_path, settings + HISTORY.format(action="clik"))
    append(config, [*lists(30, item="a"), Interaction(time=300_000, impression="n29", item="b", action="view")])
    doubt = (
        "Field past (user.recent(clik, 5)) says nothing: no interaction in the log has the action 'clik'; the actions"
    )
    assert doubt + " there are 'click' (30), 'view' (1)." in said(config, *TRAIN)
    assert "names the action 'clik' (they name: click)" in said(config, "check")
    config.write_text(settings + HISTORY.format(action="view"))
    told = "".join(log_warnings(load(config)))
    assert "says nothing" not in told
    assert "decide no label" not in told


BUY = '\n[[tasks]]\nname = "buy"\nactions = ["buy", "order"]\nwait = "2s"\n'


def test_what_a_further_task_lost_is_said_as_that_of_the_first(tmp_path: Path) -> None:
    config = empty(tmp_path, CONFIG.format(capacity=100) + BUY)
    bought = [
        Interaction(time=10_000 * n + 5_000, impression="gone" if n in (0, 1, 29) else f"n{n}", item="a", action="buy")
        for n in range(30)  # for the last of them an impression could still come
    ]
    append(config, sorted([*lists(30, item="b"), *bought], key=lambda event: event.time))
    for text in (said(config, *TRAIN), said(config, "replay", "--batch-until", "0.5", "--out", str(tmp_path / "out"))):
        assert "27 interactions that came after it, 3 interactions without their impression (over all 2 tasks" in text
        assert "tasks.actions of 'buy' names 'order', which no interaction in the log has" in text
        assert "labels of buy is positive: from one label only" in text
        assert "labels of click" not in text
        assert "impression 'gone' and item 'a', but there is no such impression" in text


def test_a_window_is_that_of_the_task(tmp_path: Path) -> None:
    config = empty(tmp_path, CONFIG.format(capacity=100) + BUY)
    late = [Interaction(time=10_000 * n + 5_000, impression=f"n{n}", item="a", action="buy") for n in range(30)]
    append(config, sorted([*lists(30, item="b"), *late], key=lambda event: event.time))
    assert "5s after it was shown: more than tasks.wait of 'buy' = 2s." in said(config, *TRAIN)


def with_features(config: Path) -> Path:
    """The world with features of lists and of their items, and fields that read them, one of them misspelt."""
    log = wiring.event_log(load(config))
    events: list[Event] = [
        Impression(
            id=f"f{number}",
            time=200_000 + number,
            user="u",
            items=["a", "b"],
            features={"device": "tv"},
            item_features={"category": ["x", "y"], "brand": ["p", "q"]},
        )
        for number in range(10)
    ]
    log.append(encode_events([ItemUpdate(time=200_000, item="a", features={"brand": "p"}), *events]))
    log.close()
    sources = ("user", "item", "request.device", "item.category", "item.brand", "item.categry")
    fields = [f'[[features.fields]]\nname = "f{n}"\nsource = "{source}"\n' for n, source in enumerate(sources)]
    config.write_text(config.read_text().replace("[features.tables.item]\ncapacity = 4\n", "") + "".join(fields))
    return config


def test_a_field_that_no_event_has_is_told(config: Path) -> None:
    said = " ".join(train(with_features(config)).split())
    assert "No event in the log has the feature that these fields read: f5 (item.categry)." in said


def test_features_that_came_with_lists_only_are_told_with_the_remedy(config: Path) -> None:
    said = " ".join(train(with_features(config)).split())
    assert "In the log, features of items came with lists only: category. A server knows them of no item" in said
    assert 'ingest a file of the items (kind = "item"), send item updates, or give item_features to /v1/rank' in said


def test_rows_that_do_not_fill_a_batch_are_told(config: Path) -> None:
    config.write_text(CONFIG.format(capacity=100).replace("batch_size = 8", "batch_size = 64"))
    said = " ".join(train(config).split())
    learned, waiting = (int(n) for n in re.findall(r"(\d+) rows (?:learned|wait)", said))
    assert (learned % 64, 0 < waiting < 64) == (0, True)
    assert "rows wait for a full batch of 64: they are learned with those that come next" in said
    (open_items,) = (int(n) for n in re.findall(r"(\d+) shown items still wait for their clicks", said))
    assert open_items == 7  # of the last list, of which one was clicked
    assert learned + waiting + open_items == 80


def test_check_says_which_checkpoints_are_damaged(config: Path) -> None:
    def check() -> str:
        result = CliRunner().invoke(main, ["check", "-c", str(config)])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    train(config)
    folder = config.parent / "run" / "checkpoints"
    (first,) = folder.glob("step-*")
    assert "damaged" not in check()
    shutil.copytree(first, first.with_name("step-999999999999"))
    (folder / "step-999999999999" / "manifest.json").write_text("{")
    said = check()
    assert "step-999999999999 is damaged" in said
    assert f"{first} is damaged" not in said
    assert "no checkpoint" not in said
    (first / "manifest.json").unlink()
    said = check()
    assert f"{first} is damaged" in said
    assert f"no checkpoint in {folder} can be resumed from: restore one from a copy, or move the folder away" in said
