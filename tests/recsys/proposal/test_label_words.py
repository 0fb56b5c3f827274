"""Labels in words: which columns are taken for labels, and which of their words for yes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from recsys.config.file import load
from recsys.errors import InvalidValueError
from recsys.proposal.ingest_trial import trial
from recsys.proposal.proposal import Proposal, propose
from recsys.proposal.roles.roles import Said

ROWS = 400


def file(folder: Path, column: str, no: str, yes: str, before: bool = False) -> tuple[Path, int]:
    """A CSV of shown items of which about a fifth has the word for yes, and how many; with `before`, a row of the word
    for no stands before each of them, as in a log of events."""
    rng = random.Random(5)
    lines, positives = [f"time,user_id,item_id,device,{column}"], 0
    for i in range(ROWS):
        at, what = 1_700_000_000 + 20 * i, f"u{rng.randrange(40)},i{rng.randrange(60)},{rng.choice(['tv', 'web'])}"
        done = rng.random() < 0.2
        positives += done
        if done and before:
            lines.append(f"{at - 1},{what},{no}")
        lines.append(f"{at},{what},{yes if done else no}")
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, positives


def proposed(path: Path, said: Said | None = None) -> Proposal:
    return propose([path], said or Said())


WORDS: Sequence[tuple[str, str, str]] = [
    ("outcome", "ignored", "clicked"),
    ("clicked", "no", "yes"),
    ("outcome", "view", "purchase"),
    ("event", "view", "purchase"),
    ("label", "FALSE", "TRUE"),
    ("result", "not clicked", "clicked"),
    ("outcome", "no_click", "click"),
    ("response", "unconverted", "converted"),
    ("outcome", "impression", "click"),
    ("liked", "dislike", "like"),
    ("outcome", "", "clicked"),
    ("action", "skipped", "played"),
    ("geklickt_label", "nein", "ja"),
    ("outcome", "none", "Clicked"),
]


@pytest.mark.parametrize(("column", "no", "yes"), WORDS)
def test_a_column_of_two_words_is_a_label_and_what_means_yes_is_written(
    tmp_path: Path, column: str, no: str, yes: str
) -> None:
    path, positives = file(tmp_path, column, no, yes)
    proposal = proposed(path)
    (mapping,) = proposal.mappings
    assert mapping.kind == "shown"
    assert mapping.settings["positive_values"].value == [yes]
    assert column not in [field.column.name for field in proposal.fields]
    tried = trial(proposal.config(tmp_path / "recsys.toml"), [path])
    assert (tried.positives, tried.positives + tried.negatives) == (positives, ROWS)


def test_what_means_yes_is_changed_in_the_configuration(tmp_path: Path) -> None:
    path, positives = file(tmp_path, "outcome", "ignored", "clicked")
    text = proposed(path).text
    (tmp_path / "recsys.toml").write_text(
        text.replace('positive_values = ["clicked"]', 'positive_values = ["ignored"]')
    )
    tried = trial(load(tmp_path / "recsys.toml"), [path])
    assert (tried.positives, tried.negatives) == (ROWS - positives, positives)


def test_of_two_words_that_say_nothing_the_user_says_which_means_yes(tmp_path: Path) -> None:
    path, positives = file(tmp_path, "label", "A", "B")
    with pytest.raises(
        InvalidValueError, match="only you know which mean yes: say so, such as --label label --positive"
    ):
        proposed(path)
    proposal = proposed(path, Said(positive=("B",)))
    assert trial(proposal.config(tmp_path / "recsys.toml"), [path]).positives == positives
    with pytest.raises(InvalidValueError, match=r"no column of .* has 'C' and other values"):
        proposed(path, Said(positive=("C",)))


def test_a_column_that_may_be_a_label_is_asked_about(tmp_path: Path) -> None:
    path, _ = file(tmp_path, "outcome", "1", "2")
    proposal = proposed(path)
    assert proposal.mappings[0].kind == "feedback"
    assert any("--label outcome --positive" in question for question in proposal.open_questions)


def test_rows_that_follow_on_others_of_the_same_item_are_events(tmp_path: Path) -> None:
    path, _ = file(tmp_path, "event", "view", "purchase", before=True)
    (mapping,) = proposed(path).mappings
    assert mapping.kind == "feedback"
    assert mapping.columns["action"].value == "event"


def test_rows_without_the_action_of_a_list_elsewhere_are_no_clicks(tmp_path: Path) -> None:
    rng = random.Random(6)
    lists, done, clicks = ["request_id,time,user_id,items"], ["request_id,time,item_id,clicked"], 0
    for i in range(200):
        items = rng.sample(range(30), 3)
        lists.append(f"q{i},{1_700_000_000 + 20 * i},u{i % 17},{'|'.join(f'i{item}' for item in items)}")
        yes = rng.random() < 0.4
        clicks += yes
        done.append(f"q{i},{1_700_000_005 + 20 * i},i{items[0]},{'yes' if yes else 'no'}")
    for name, lines in (("lists.csv", lists), ("done.csv", done)):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    files = [tmp_path / "lists.csv", tmp_path / "done.csv"]
    tried = trial(propose(files, Said()).config(tmp_path / "recsys.toml"), files)
    assert (tried.positives, tried.labels) == (clicks, 600)


def hotels(folder: Path, column: str, more: str) -> Path:
    """A CSV of hotels, each with stars, that were shown; of a fifth it says 1. `more` is of the user or the hotel."""
    rng = random.Random(7)
    lines = [f"user_id,hotel_id,timestamp,stars,paid_amount,{more},{column}"]
    for n in range(ROWS):
        user, hotel, done = rng.randrange(40), rng.randrange(60), rng.random() < 0.2
        price = rng.randrange(50, 90) if done else ""
        of_user = user % 2
        lines.append(f"u{user},h{hotel},{1_700_000_000 + 20 * n},{hotel % 5 + 1},{price},{of_user},{done:d}")
    path = folder / "hotels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "column", ["booked", "is_booking", "has_reserved", "subscribed_flag", "zzz_applied", "booking"]
)
def test_what_a_user_did_is_the_label_and_not_what_the_item_is_like(tmp_path: Path, column: str) -> None:
    (mapping,) = proposed(hotels(tmp_path, column, "is_registered")).mappings
    assert (mapping.kind, mapping.of.roles.names("label")) == ("shown", [column])
    assert {one.field for one in mapping.features} == {"item_features.stars", "features.is_registered"}


def test_stars_of_an_item_are_no_rating_beside_a_column_that_may_be_the_label(tmp_path: Path) -> None:
    proposal = proposed(hotels(tmp_path, "zzz", "device"))
    assert proposal.mappings[0].kind == "feedback"
    assert any("--label zzz --positive" in question for question in proposal.open_questions)


@pytest.mark.parametrize("column", ["action", "event", "activity"])
def test_numbers_of_actions_are_asked_about(tmp_path: Path, column: str) -> None:
    lines = [f"u{n % 9},i{n % 7},{1_700_000_000 + n},{1 + n % 4}" for n in range(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join([f"user,item,time,{column}", *lines]) + "\n")
    proposal = proposed(tmp_path / "a.csv")
    assert proposal.mappings[0].columns["action"].value == column
    assert any(f"the numbers in {column!r} (1, 2, 3, 4) mean, only you know" in one for one in proposal.open_questions)


def test_a_score_of_which_nobody_knows_what_it_says_is_asked_about(tmp_path: Path) -> None:
    lines = [f"u{n % 9},i{n % 7},{1_700_000_000 + n},{n / ROWS}" for n in range(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["user,item,time,score", *lines]) + "\n")
    (question,) = [one for one in proposed(tmp_path / "a.csv").open_questions if "'score'" in one]
    assert "only you know: they are an input of the model" in question
    assert 'write value = "score" in place of features.score' in question


@pytest.mark.parametrize(
    ("column", "no", "yes"), [("clicked", "0", "1"), ("label", "false", "true"), ("is_click", "no", "yes")]
)
def test_a_label_with_a_few_other_values_is_asked_for_and_never_ignored(
    tmp_path: Path, column: str, no: str, yes: str
) -> None:
    path, _ = file(tmp_path, column, no, yes)
    lines = path.read_text().splitlines()
    spoiled = [line.rpartition(",")[0] + ",maybe" if n % 50 == 7 else line for n, line in enumerate(lines)]
    path.write_text("\n".join(spoiled) + "\n")
    with pytest.raises(InvalidValueError, match=f"{column!r} looks like a label, but 8 of .*--positive {yes}"):
        proposed(path)
    (mapping,) = proposed(path, Said({"label": column}, None, "", (yes,), "", "")).mappings
    assert mapping.kind == "shown"
    assert mapping.settings["positive_values"].value == [yes]


def test_grades_and_a_column_that_no_name_calls_a_label_are_not_refused(tmp_path: Path) -> None:
    path, _ = file(tmp_path, "clicked", "0", "1")
    path.write_text(path.read_text().replace(",1\n", ",2\n", 2))
    assert proposed(path).mappings[0].kind == "shown"
    path, _ = file(tmp_path, "premium", "0", "1")
    path.write_text(path.read_text().replace(",1\n", ",maybe\n", 2))
    assert any("'premium' says; its values are '0' and '1' but for 2" in one for one in proposed(path).open_questions)


@pytest.mark.parametrize("columns", [{}, {"item": "slate.content.id", "label": "slate.tapped"}])
def test_objects_within_the_objects_of_a_list_are_a_row_for_each_item(tmp_path: Path, columns: dict[str, str]) -> None:
    rng = random.Random(3)
    rows = []
    for n in range(200):
        slate = [{"content": {"id": f"i{i}", "topic": f"t{i % 3}"}, "tapped": i < 9} for i in rng.sample(range(30), 4)]
        viewer = {"uid": f"u{n % 21}", "app": {"os": rng.choice(["ios", "web"]), "version": n % 9}}
        rows.append(json.dumps({"event": {"ts": 1_700_000_000 + 40 * n}, "viewer": viewer, "slate": slate}))
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    proposal = propose([tmp_path / "a.jsonl"], Said(columns, None, "", ("true",) if columns else (), "", ""))
    (mapping,) = proposal.mappings
    assert (mapping.kind, mapping.columns["item"].value) == ("shown", "slate.content.id")
    assert mapping.columns["item_features.slate_content_topic"].value == "slate.content.topic"
    tried = trial(proposal.config(tmp_path / "recsys.toml"), proposal.files)
    assert (tried.labels, tried.counts.dead) == (800, 0)
    assert tried.positives == sum(row.count('"tapped": true') for row in rows)


def test_numbers_with_a_few_words_among_them_are_told(tmp_path: Path) -> None:
    path, _ = file(tmp_path, "clicked", "0", "1")
    rows = path.read_text().splitlines()
    priced = [f"{row},{'cheap' if n % 50 == 0 else 5 + n % 37}" for n, row in enumerate(rows[1:])]
    path.write_text("\n".join([f"{rows[0]},price", *priced]) + "\n")
    assert any("'price' is no field of numbers, since 8 of" in one for one in proposed(path).open_questions)
