"""What names of files and the order of rows tell, and what is said of what is left out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recsys.proposal.files.sample import ROWS as LOOKED_AT
from recsys.proposal.proposal import Proposal
from tests.recsys.proposal.test_public_formats import ROWS, T, tried, written

HEADER = "time,user,item"


@pytest.mark.parametrize("names", [("views.csv", "purchases.csv"), ("views/part-0.csv", "purchases/part-0.csv")])
def test_files_that_are_called_after_actions_have_these_actions(tmp_path: Path, names: tuple[str, str]) -> None:
    files = []
    for k, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        rows = [f"{T + 60 * n + k},u{n % 23},i{(n * 7 + k) % 31}" for n in range(ROWS)]
        files.append(written(tmp_path, name, [HEADER, *rows]))
    proposal, found = tried(tmp_path, files)
    assert [one.settings["action"].value for one in proposal.mappings] == ["view", "purchase"]
    assert set(proposal.training["positive"].value) == {"view", "purchase"}
    assert found.positives > ROWS / 2


def test_clicks_and_purchases_of_lists_keep_their_actions_and_are_measured(tmp_path: Path) -> None:
    lists = [f"r{n},{T + 60 * n},u{n % 23},i{n % 31}|i{(n + 9) % 31}" for n in range(ROWS)]
    files = [written(tmp_path, "lists.csv", ["req,time,user,items", *lists])]
    for k, name in enumerate(["clicks.csv", "purchases.csv"]):
        rows = [f"r{n},{T + 60 * n + 5 + k},i{n % 31}" for n in range(k, ROWS, 3)]
        files.append(written(tmp_path, name, ["req,time,item", *rows]))
    proposal, found = tried(tmp_path, files)
    assert [one.raw().get("action") for one in proposal.mappings] == [None, "click", "purchase"]
    assert found.events == f"{ROWS} impressions with {2 * ROWS} shown items, {2 * ROWS // 3} interactions"
    assert "no wait is measured" not in " ".join(proposal.open_questions)


def test_one_file_keeps_the_action_that_clients_send(tmp_path: Path) -> None:
    rows = [f"{T + 60 * n},u{n % 23},i{n % 31}" for n in range(ROWS)]
    proposal, _ = tried(tmp_path, [written(tmp_path, "plays.csv", [HEADER, *rows])])
    assert proposal.training["positive"].value == ["click"]


def shown(folder: Path, step: int, *, scattered: bool = False) -> Proposal:
    """Four rows of one user and time each, `step` seconds apart."""
    rng, rows = random.Random(3), []
    for n in range(ROWS // 4):
        rows += [
            f"{T + step * n},u{n % 23},i{item},{place},{item % 7}.5,{rng.randrange(2)}"
            for place, item in enumerate(rng.sample(range(31), 4))
        ]
    if scattered:
        rows = rows[::2] + rows[1::2]
    return tried(folder, [written(folder, "a.csv", ["time,user,item,position,price,clicked", *rows])])[0]


def test_neighbouring_rows_of_one_user_and_time_are_a_list(tmp_path: Path) -> None:
    proposal = shown(tmp_path, 60)
    (mapping,) = proposal.mappings
    assert mapping.columns["id"].value == ["user", "time"]
    assert "without this line each row is a list" in proposal.text
    questions = " ".join(proposal.open_questions)
    assert "'position' is left out: nobody knows the place" in questions
    assert "Features of items stand in the rows of lists only: price." in questions


def test_rows_that_stand_apart_or_share_a_day_are_no_list(tmp_path: Path) -> None:
    assert "id" not in shown(tmp_path, 60, scattered=True).mappings[0].columns
    rows = [f"2020-09-{1 + n // 20:02},u{n // 4 % 5},i{n % 31},{n % 2}" for n in range(ROWS)]
    proposal, _ = tried(tmp_path, [written(tmp_path, "b.csv", ["date,user,item,clicked", *rows])])
    assert "id" not in proposal.mappings[0].columns


def test_an_item_that_is_the_same_in_all_rows_is_one_if_it_is_called_so(tmp_path: Path) -> None:
    lists = [{"kind": "ranking", "id": f"r{n}", "ts": T + n, "user": f"u{n % 9}", "items": [{"id": "a"}, {"id": "b"}]}
             for n in range(40)]  # fmt: skip
    clicks = [{"kind": "click", "id": f"c{n}", "ranking": f"r{n}", "ts": T + 100 + n, "user": "u", "item": "b"}
              for n in range(40)]  # fmt: skip
    _, found = tried(tmp_path, [written(tmp_path, "a.jsonl", [*lists, *clicks])])
    assert (found.positives, found.labels) == (40, 80)


@pytest.mark.slow
def test_a_share_of_labels_says_of_how_many_rows_it_is(tmp_path: Path) -> None:
    rows = [f"{T + n},u{n % 230},i{n % 310},{int(n % 4 == 0)}" for n in range(LOOKED_AT + 1000)]
    proposal, _ = tried(tmp_path, [written(tmp_path, "a.csv", [f"{HEADER},clicked", *rows])])
    assert f"25.0% of the first {LOOKED_AT:,} rows" in proposal.text
