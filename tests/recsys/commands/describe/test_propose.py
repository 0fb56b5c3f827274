"""`recsys init --from` and `recsys inspect`: from files that nobody has described to a model."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from recsys.cli import main
from recsys.config.file import load
from recsys.unlearned import LOST


def run(folder: Path, *words: str) -> Result:
    """A command in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, list(words))


def learned(folder: Path, *files: str, said: tuple[str, ...] = ()) -> str:
    """What the training says that follows a proposal for the files."""
    for words in (
        ("init", "--from", *files, *said),
        ("check",),
        ("ingest", *files),
        ("train", "--once", "--no-publish"),
    ):
        result = run(folder, *words)
        assert result.exit_code == 0, result.output
    return result.output


def lists_and_clicks(folder: Path) -> list[str]:
    rng = random.Random(1)
    lists, clicks = ["query;when;visitor;shown;device"], ["when;query;product"]
    for i in range(400):
        items = rng.sample(range(30), 4)
        at = 1_700_000_000 + 30 * i
        lists.append(f"q{i};{at};v{i % 17};{' '.join(f'p{item}' for item in items)};{rng.choice(['tv', 'phone'])}")
        if rng.random() < 0.6:
            clicks.append(f"{at + 5};q{i};p{min(items)}")
    (folder / "lists.csv").write_text("\n".join(lists) + "\n")
    (folder / "clicks.csv").write_text("\n".join(clicks) + "\n")
    return ["lists.csv", "clicks.csv"]


def table(name: str, header: str, row: Callable[[random.Random, int], str]) -> Callable[[Path], list[str]]:
    """A file of 300 rows, 40 s apart, of 20 users and 15 items."""

    def write(folder: Path) -> list[str]:
        rng = random.Random(2)
        rows = [row(rng, 1_650_000_000 + 40 * i) for i in range(300)]
        (folder / name).write_text("\n".join([header] * bool(header) + rows) + "\n")
        return [name]

    return write


def iso(at: int, pattern: str) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(pattern)


def with_labels(rng: random.Random, count: int) -> str:
    items = rng.sample(range(15), count)
    return " ".join(f"N{item}-{int(item == min(items))}" for item in items)


def shown_and_chosen(rng: random.Random, at: int) -> str:
    items = rng.sample(range(15), 3)
    seen = [f"a{item}" for item in items]
    return json.dumps({"uid": f"u{rng.randrange(20)}", "ts": at * 1000, "inview": seen, "clicked": [f"a{min(items)}"]})


def mixed(folder: Path) -> list[str]:
    rng = random.Random(3)
    lines = []
    for i in range(300):
        items = [f"p{item}" for item in rng.sample(range(15), 3)]
        at = iso(1_650_000_000 + 60 * i, "%Y-%m-%dT%H:%M:%SZ")
        shown = [{"id": item} for item in items]
        lines.append({"event": "ranking", "id": f"r{i}", "at": at, "user": f"u{i % 7}", "items": shown})
        if i % 2:
            lines.append({"event": "choice", "ranking": f"r{i}", "at": at, "type": "click", "item": min(items)})
    (folder / "all.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return ["all.jsonl"]


def with_items(folder: Path) -> list[str]:
    files = lists_and_clicks(folder)
    rows = [f"p{i},{'ab'[i % 2]},{i * 3 + 0.5}" for i in range(30)]
    (folder / "products.csv").write_text("product_id,brand,price\n" + "\n".join(rows) + "\n")
    return [*files, "products.csv"]


def in_folders(folder: Path) -> list[str]:
    lists, clicks = (folder / name for name in lists_and_clicks(folder))
    files = []
    for kind, path in (("shown", lists), ("done", clicks)):
        (folder / kind).mkdir()
        header, *rows = path.read_text().splitlines()
        for n in range(3):
            part = rows[n * len(rows) // 3 : (n + 1) * len(rows) // 3]
            (folder / kind / f"part-{n}.csv").write_text("\n".join([header, *part]) + "\n")
            files.append(f"{kind}/part-{n}.csv")
    return files


KINDS: dict[str, Callable[[Path], list[str]]] = {
    "lists and clicks": lists_and_clicks,
    "lists, clicks and properties of items": with_items,
    "parts in folders": in_folders,
    "several kinds in one file": mixed,
    "a label in each row": table(
        "ads.csv",
        "time,user,ad_id,device,clicked",
        lambda rng, at: f"{at},{rng.randrange(20)},{rng.randrange(15)},{rng.choice('ab')},{rng.choice(['yes', 'no'])}",
    ),
    "rows of lists": table(
        "rows.csv",
        "search_id,when,visitor_id,product_id,cost,is_click,is_order",
        lambda rng, at: "\n".join(
            f"s{at},{at},v{at % 19},p{item},{item}.5,{int(item < 4)},{int(item < 1)}"
            for item in rng.sample(range(15), 3)
        ),
    ),
    "labels in a list": table(
        "news.tsv",
        "",
        lambda rng, at: (
            f"{at // 40}\tU{rng.randrange(20)}\t{iso(at, '%m/%d/%Y %I:%M:%S %p')}\tN1 N2\t{with_labels(rng, 4)}"
        ),
    ),
    "shown and clicked": table("views.jsonl", "", shown_and_chosen),
    "ratings": table(
        "r.dat", "", lambda rng, at: f"{rng.randrange(20)}::{rng.randrange(15) + 50}::{rng.randrange(1, 6)}::{at}"
    ),
    "typed header": table(
        "x.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        lambda rng, at: f"{rng.randrange(20)}\t{rng.randrange(15)}\t{rng.randrange(1, 11)}\t{at}.0",
    ),
    "actions": table(
        "shop.csv",
        "event_time,event_type,product_id,user_id,price",
        lambda rng, at: (
            f"{iso(at, '%Y-%m-%d %H:%M:%S UTC')},{rng.choice(['view', 'cart'])},{rng.randrange(15)},"
            f"{rng.randrange(20)},{rng.randrange(9)}"
        ),
    ),
    "plays of a week apart": table(
        "plays.csv",
        "date,listener,track_id",
        lambda rng, at: (
            f"{iso(1_200_000_000 + (at - 1_650_000_000) * 600, '%d.%m.%Y')},{rng.randrange(20)},{rng.randrange(15)}"
        ),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_nobody_described_trains_a_model(tmp_path: Path, kind: str) -> None:
    said = learned(tmp_path, *KINDS[kind](tmp_path))
    assert "rows learned" in said
    assert not any(words in said for words in LOST.values())


@pytest.mark.slow
def test_a_file_of_few_rows_fills_batches_too(tmp_path: Path) -> None:
    rows = [f"{1_650_000_000 + 60 * i},u{i % 7},i{i % 5},{i % 2}" for i in range(40)]
    (tmp_path / "few.csv").write_text("ts,user_id,item_id,clicked\n" + "\n".join(rows) + "\n")
    assert "40 rows learned" in learned(tmp_path, "few.csv")


@pytest.mark.slow
def test_a_proposal_has_delimiter_unit_separator_and_features(tmp_path: Path) -> None:
    files = lists_and_clicks(tmp_path)
    assert run(tmp_path, "init", "--from", *files).exit_code == 0
    text = (tmp_path / "recsys.toml").read_text()
    for part in (
        'delimiter = ";"',
        'separator = " "',
        'time_unit = "s"',
        'impression = "query"',
        'source = "request.device"',
    ):
        assert part in text


def test_inspect_writes_nothing(tmp_path: Path) -> None:
    files = lists_and_clicks(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = run(tmp_path, "inspect", *files)
    assert result.exit_code == 0
    assert "visitor" in result.output
    assert "accepted" in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_inspect_shows_properties_alone_without_a_proposal(tmp_path: Path) -> None:
    rows = [f"a{n},{9 + n}.5,k{n % 3}" for n in range(30)]
    (tmp_path / "articles.csv").write_text("\n".join(["article_id,price,colour", *rows]) + "\n")
    result = run(tmp_path, "inspect", "articles.csv")
    assert result.exit_code == 0, result.output
    assert "colour" in result.output
    assert "properties alone" in result.output


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "is empty"),
        ("head.csv", b"user,item,time\n", "has a header and no rows"),
        ("one.csv", b"user,item,time\nu,i,1700000000\n", "has one row only"),
        ("table.orc", b"ORC\x00\x01", "cannot be read"),
        ("picture.csv", bytes(range(256)) * 20, "is a binary file"),
        ("archive.zip", b"PK\x03\x04more", "cannot unpack it"),
        ("sheet.xlsx", b"PK\x03\x04more", "is a ZIP archive"),
        ("plain.csv", b"\x1f\x8bmore", "let its name end with .gz"),
        ("words.txt", b"one\ntwo\nthree\n", "is no table"),
        ("pretty.json", b'{\n"user": 1}\n{\n"user": 2}\n', "one object a line"),
        ("numbers.json", b"[1, 2]", "other JSON than objects"),
        ("mac.csv", b"user,item\ru,i\rv,j\r", "carriage return"),
        ("twice.csv", b"user,item,user\na,b,c\nd,e,f\n", "2 columns 'user'"),
        ("torn.parquet", b"PAR1torn", "cannot be read"),
        ("missing.csv", None, "does not exist"),
        ("folder", None, "is a folder"),
    ],
)
def test_what_is_no_table_is_one_error_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif name == "folder":
        (tmp_path / name).mkdir()
    result = run(tmp_path, "init", "--from", name)
    assert result.exit_code == 1
    assert says in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "recsys.toml").exists()


def test_lists_without_clicks_are_not_enough(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    result = run(tmp_path, "init", "--from", "lists.csv")
    assert result.exit_code == 1
    assert "give the file of their clicks as well" in result.output


def test_clicks_of_other_lists_are_told(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    clicks = tmp_path / "clicks.csv"
    clicks.write_text(clicks.read_text().replace(";q", ";other"))
    result = run(tmp_path, "init", "--from", "lists.csv", "clicks.csv")
    assert result.exit_code == 1
    assert "no column has the ids of the lists in lists.csv" in result.output


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    result = run(tmp_path, "init", "--from", "lists.csv", "--user", "person")
    assert result.exit_code == 1
    assert "--user person: there is no such column" in result.output


def test_rows_that_are_not_in_the_order_of_time_are_to_be_sorted(tmp_path: Path) -> None:
    (name,) = KINDS["ratings"](tmp_path)
    rows = (tmp_path / name).read_text().splitlines()
    (tmp_path / name).write_text("\n".join(reversed(rows)) + "\n")
    result = run(tmp_path, "init", "--from", name)
    assert result.exit_code == 0
    assert f"recsys ingest --sort {name}" in result.output


def test_rows_sorted_by_user_have_all_their_labels_in_the_proposal(tmp_path: Path) -> None:
    rows = [f"{n % 40},i{n % 30},{1 + n % 5},{1_650_000_000 + 600 * n}" for n in range(1200)]
    rows.sort(key=lambda row: int(row.split(",")[0]))
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(rows) + "\n")
    result = run(tmp_path, "init", "--from", "ratings.csv")
    assert "Labels: 1,200 shown items, 40.0% of them positive." in result.output
    assert "not in the order of time: ingest with --sort" in result.output.replace("\n", " ")
    assert load(tmp_path / "recsys.toml").training.batch_size == 32


def test_a_header_that_comes_again_leaves_the_label_a_label(tmp_path: Path) -> None:
    part = ["time,user_id,item_id,clicked"]
    part += [f"{1_650_000_000 + 60 * n},u{n % 7},i{n % 5},{n % 4 // 3}" for n in range(120)]
    (tmp_path / "joined.csv").write_text("\n".join([*part, *part]) + "\n")
    result = run(tmp_path, "init", "--from", "joined.csv")
    assert result.exit_code == 0, result.output
    (mapping,) = load(tmp_path / "recsys.toml").log.mapping
    assert (mapping.kind, mapping.columns["actions.click"]) == ("shown", "clicked")
    assert "25.0% of them positive" in result.output


def test_values_that_come_twice_in_the_first_row_are_no_header(tmp_path: Path) -> None:
    news = [f"N{n}\tnews\tlocal\tTitle {n}\t[]\t[]" for n in range(30)]
    (tmp_path / "news.tsv").write_text("\n".join(news) + "\n")
    result = run(tmp_path, "init", "--from", "news.tsv")
    assert result.exit_code == 1
    assert "has columns without names" in result.output


def test_further_labels_are_further_tasks(tmp_path: Path) -> None:
    rows = [f"{1_650_000_000 + 60 * i},u{i % 7},i{i % 5},{i % 2},{i % 3 // 2}" for i in range(90)]
    (tmp_path / "a.csv").write_text("ts,user_id,item_id,liked,bought\n" + "\n".join(rows) + "\n")
    trained = learned(tmp_path, "a.csv")
    assert "buy, all" in trained
    proposed = load(tmp_path / "recsys.toml")
    assert proposed.training.positive == ["like"]
    assert [(task.name, task.actions) for task in proposed.tasks] == [("buy", ["buy"])]


def test_an_option_chooses_one_of_two_labels(tmp_path: Path) -> None:
    rows = [f"{1_650_000_000 + 60 * i},u{i % 7},i{i % 5},{i % 2},{i % 3 // 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text("ts,user_id,item_id,liked,bought\n" + "\n".join(rows) + "\n")
    assert run(tmp_path, "init", "--from", "a.csv", "--label", "bought").exit_code == 0
    text = (tmp_path / "recsys.toml").read_text()
    assert 'positive = ["buy"]' in text
    assert 'source = "request.liked"' not in text


@pytest.mark.parametrize("label", ["outcome_clicked", "converted", "outcome.clicked"])
def test_a_label_without_another_verb_is_the_action_that_clients_send(tmp_path: Path, label: str) -> None:
    rows = [f"{1_650_000_000 + 60 * i},u{i % 7},i{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text(f"ts,user_id,item_id,{label}\n" + "\n".join(rows) + "\n")
    result = run(tmp_path, "init", "--from", "a.csv")
    assert 'positive = ["click"]' in (tmp_path / "recsys.toml").read_text()
    assert "have to say so" not in result.output


def test_another_action_than_click_is_told(tmp_path: Path) -> None:
    (name,) = KINDS["ratings"](tmp_path)
    rows = [f"{1_650_000_000 + 60 * i},u{i % 7},i{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text("ts,user_id,item_id,purchased\n" + "\n".join(rows) + "\n")
    told = " ".join(run(tmp_path, "init", "--from", "a.csv").output.split())
    assert "an interaction whose action is 'purchase': events sent to the server have to say so" in told
    told = " ".join(run(tmp_path, "init", "b.toml", "--from", name).output.split())
    assert "whose action is 'rate', with a value" in told


def columns(header: str, cells: Callable[[random.Random, int], str], rows: int = 300) -> str:
    rng = random.Random(4)
    return "\n".join([header, *(f"{1_650_000_000 + 40 * i},{cells(rng, i)}" for i in range(rows))]) + "\n"


@pytest.mark.parametrize("name", ["device", "client", "account", "profile", "session", "platform"])
def test_a_column_of_few_kinds_is_no_user(tmp_path: Path, name: str) -> None:
    text = columns(f"ts,{name},item_id,clicked", lambda rng, i: f"{rng.choice('abc')},p{i % 15},{rng.randrange(2)}")
    (tmp_path / "a.csv").write_text(text)
    result = run(tmp_path, "init", "--from", "a.csv")
    assert result.exit_code == 0, result.output
    written = (tmp_path / "recsys.toml").read_text()
    assert "user = " not in written
    assert f'source = "request.{name}"' in written
    told = " ".join(result.output.split())
    assert (
        'a.csv: no column identifies a user, so that each list gets a user of its own (anonymous = "request")' in told
    )
    assert "say --user COLUMN" in told


def test_a_user_in_a_path_goes_before_a_device(tmp_path: Path) -> None:
    def row(i: int) -> str:
        context = {"visitor": {"id": f"v{i % 20}"}, "device": f"d{i % 40}"}
        at = 1_650_000_000_000 + 40_000 * i
        return json.dumps({"ts": at, "context": context, "item": {"id": f"p{i % 15}"}, "clicked": i % 3 // 2})

    (tmp_path / "a.jsonl").write_text("\n".join(map(row, range(300))) + "\n")
    assert run(tmp_path, "init", "--from", "a.jsonl").exit_code == 0
    text = (tmp_path / "recsys.toml").read_text()
    assert 'user = "context.visitor.id"' in text
    assert 'item = "item.id"' in text


def test_an_only_column_left_is_a_user_if_its_values_are_like_users(tmp_path: Path) -> None:
    cells: dict[str, Callable[[random.Random, int], str]] = {
        "who": lambda rng, _: f"w{rng.randrange(60)}",
        "country": lambda rng, _: rng.choice("abcd"),
        "price": lambda _, i: str(i % 30 * 7),
    }
    found = []
    for name, cell in cells.items():
        rng = random.Random(5)
        rows = [f"{1_650_000_000 + 40 * i},{cell(rng, i)},p{i % 30},{rng.randrange(2)}" for i in range(300)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"ts,{name},item_id,clicked", *rows]) + "\n")
        assert run(tmp_path, "init", f"{name}.toml", "--from", f"{name}.csv").exit_code == 0
        found.append("user = " in (tmp_path / f"{name}.toml").read_text())
    assert found == [True, False, False]


def late(folder: Path, form: str) -> str:
    """20,000 rows, of which the first 18,000 have the label 0."""
    rows = [(1_650_000_000 + i, f"u{i % 50}", f"p{i % 30}", int(i >= 18_000 and i % 3 == 0)) for i in range(20_000)]
    names = ("ts", "user_id", "item_id", "clicked")
    path = folder / f"late.{form}"
    if form == "parquet":
        pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path, row_group_size=5000)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        text = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n"
        packed: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}
        pack = packed.get(path.suffix, bytes)
        path.write_bytes(pack(text.encode()))
    return path.name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.xz", "jsonl", "parquet"])
def test_a_label_that_changes_late_in_the_file_is_a_label(tmp_path: Path, form: str) -> None:
    name = late(tmp_path, form)
    result = run(tmp_path, "init", "--from", name)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "recsys.toml").read_text()
    assert 'kind = "shown"' in text
    assert "only 0 in the first rows, and another value further on" in text
    assert "Labels: 20,000 shown items, 3.3% of them positive" in result.output


def test_a_label_that_never_changes_is_a_question(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(columns("ts,user_id,item_id,clicked", lambda _, i: f"u{i % 20},p{i % 15},0"))
    result = run(tmp_path, "init", "--from", "a.csv")
    assert result.exit_code == 1
    assert "'clicked' looks like the label and is 0 in all rows that were looked at" in result.output
    assert not (tmp_path / "recsys.toml").exists()


def test_rows_that_are_all_clicks_are_feedback_and_this_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(columns("ts,user_id,item_id,clicked", lambda _, i: f"u{i % 20},p{i % 15},1"))
    result = run(tmp_path, "init", "--from", "a.csv")
    assert result.exit_code == 0, result.output
    assert 'kind = "feedback"' in (tmp_path / "recsys.toml").read_text()
    told = " ".join(result.output.split())
    assert "'clicked' is 1 in all rows that were looked at, so that every row is taken as something a user did" in told
    assert "say --label clicked" in told


def test_days_and_months_that_cannot_be_told_apart_are_a_question(tmp_path: Path) -> None:
    rows = [f"0{1 + i % 9}/0{1 + i % 8}/2021,u{i % 7},i{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text("date,user_id,item_id,clicked\n" + "\n".join(rows) + "\n")
    assert "say which with --time-format" in run(tmp_path, "init", "--from", "a.csv").output
    result = run(tmp_path, "init", "--from", "a.csv", "--time-format", "%d/%m/%Y")
    assert result.exit_code == 0, result.output


def mixed_times(folder: Path, *forms: Callable[[int], object]) -> str:
    """JSON lines whose times take the forms by turns, and whose ids are numbers and texts."""
    rng = random.Random(4)
    rows = []
    for i in range(300):
        time, user = forms[i % len(forms)](1_700_000_000 + 40 * i), i % 20
        item = rng.randrange(15)
        rows.append({"time": time, "user": user if i % 2 else str(user), "item": item, "clicked": int(item < 5)})
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "a.jsonl"


def millis(at: int) -> object:
    return 1000 * at


def written(at: int) -> object:
    return iso(at, "%Y-%m-%dT%H:%M:%SZ")


def test_times_of_several_forms_are_read_in_that_of_most_and_the_others_are_told(tmp_path: Path) -> None:
    file = mixed_times(tmp_path, millis, written, lambda at: str(1000 * at))
    result = run(tmp_path, "init", "--from", file)
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "'time' is read as ms: of the values that were tried 66 of 200 are none, such as '2023-" in told
    accepted = "278 events accepted (200 impressions with 200 shown items, 78 interactions)"
    assert f"{accepted}, 0 duplicate, 100 refused" in told
    assert 'user = "user"' in (tmp_path / "recsys.toml").read_text()


def test_forms_of_which_none_has_most_times_are_a_question(tmp_path: Path) -> None:
    file = mixed_times(tmp_path, millis, written)
    result = run(tmp_path, "init", "--from", file)
    assert result.exit_code == 1
    assert "no form has more than half of the times in 'time': ISO 8601 (100 of 200), ms (100 of 200)" in result.output
    assert run(tmp_path, "init", "--from", file, "--time-unit", "iso").exit_code == 0


def test_a_day_beyond_the_twelfth_decides_what_is_the_month(tmp_path: Path) -> None:
    rows = [f"{13 if i == 50 else 1 + i % 9}/0{1 + i % 8}/2021,u{i % 7},i{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text("date,user_id,item_id,clicked\n" + "\n".join(rows) + "\n")
    result = run(tmp_path, "init", "--from", "a.csv")
    assert 'time_format = "%d/%m/%Y"' in (tmp_path / "recsys.toml").read_text(), result.output


def test_rows_without_times_need_a_start(tmp_path: Path) -> None:
    rows = [f"{i % 7};{i % 5};{i % 5 + 1}" for i in range(60)]
    (tmp_path / "a.csv").write_text("User-ID;ISBN;Book-Rating\n" + "\n".join(rows) + "\n")
    assert "--start" in run(tmp_path, "init", "--from", "a.csv").output
    assert run(tmp_path, "init", "mine.toml", "--from", "a.csv", "--start", "2024-01-01").exit_code == 0
    assert run(tmp_path, "check", "-c", "mine.toml").exit_code == 0


def test_the_table_of_inspect_shows_all_words_in_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    files = lists_and_clicks(tmp_path)
    table = run(tmp_path, "inspect", *files).output.partition("# Proposed")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    for word in ("query", "visitor", "missing", "different", "examples", "guess"):
        assert word in table


def test_inspect_says_which_source_reads_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = run(tmp_path, "inspect", *lists_and_clicks(tmp_path)).output.partition("# Proposed")[0]
    (device,) = (line for line in table.splitlines() if line.startswith("device "))
    assert device.rstrip().endswith("feature: request.device")


def test_a_second_proposal_is_written_over_the_first_when_that_is_asked(tmp_path: Path) -> None:
    files = lists_and_clicks(tmp_path)
    (tmp_path / "recsys.toml").write_text("mine")
    refused = run(tmp_path, "init", "--from", *files)
    assert refused.exit_code == 1
    assert "write over it with --force" in refused.output.replace("\n", " ")
    assert (tmp_path / "recsys.toml").read_text() == "mine"
    assert run(tmp_path, "init", "--force", "--from", *files).exit_code == 0
    assert load(tmp_path / "recsys.toml").model.name == "fm"


def test_a_file_of_fewer_labels_than_batches_is_proposed_too(tmp_path: Path) -> None:
    rows = [f"{1_700_000_000 + i},u{i % 3},i{i % 2},{i % 2}" for i in range(3)]
    (tmp_path / "a.csv").write_text("\n".join(["time,user_id,item_id,clicked", *rows]) + "\n")
    assert run(tmp_path, "init", "--from", "a.csv").exit_code == 0
    assert load(tmp_path / "recsys.toml").training.batch_size == 1


@pytest.mark.parametrize("depth", [100, 600, 5_000, 100_000])
@pytest.mark.parametrize("array", [False, True])
def test_deep_nesting_is_one_line_or_read(tmp_path: Path, depth: int, array: bool) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    rows = [f'{{"user":"u{i % 9}","item":"p{i % 7}","time":{1_700_000_000 + 40 * i},"more":{deep}}}' for i in range(9)]
    (tmp_path / "deep.json").write_text(f"[{','.join(rows)}]" if array else "\n".join(rows))
    result = run(tmp_path, "inspect", "deep.json")
    assert result.exit_code in (0, 1), result.output
    assert result.exit_code == 0 or len([line for line in result.stderr.splitlines() if "error:" in line]) == 1
    if depth == 100_000:
        assert "nested too deeply" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_column_beyond_the_bound_is_said(tmp_path: Path, suffix: str) -> None:
    rng, names = random.Random(3), [f"c{n}" for n in range(3_000)]
    rows = [
        {"user": f"u{i % 9}", "item": f"p{i % 7}", "time": 1_700_000_000 + 40 * i, "click": i % 2}
        | {name: rng.randrange(3) for name in names}
        for i in range(20)
    ]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    lines = lines if suffix == "csv" else list(map(json.dumps, rows))
    (tmp_path / f"wide.{suffix}").write_text("\n".join(lines) + "\n")
    result = run(tmp_path, "inspect", f"wide.{suffix}")
    assert "more than 500 columns: the first 500 were looked at" in " ".join(result.stdout.split()), result.output
    assert "c495" in result.stdout
    assert "c497" not in result.stdout
    result = run(tmp_path, "inspect", f"wide.{suffix}", "--user", "c2999")
    assert "--user c2999: there is no such column" in result.stderr
    assert "c30 and 460 others that are looked at: let the file have fewer" in result.stderr.replace("c35 ", "c30 ")


@pytest.mark.parametrize("command", [("inspect",), ("init", "--from")])
def test_a_pipe_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    result = run(tmp_path, *command, "pipe.csv")
    assert result.exit_code == 1
    assert "pipe.csv is a pipe or device" in result.stderr


@pytest.mark.parametrize("command", [("inspect",), ("init", "--from"), ("ingest",)])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    if command == ("ingest",):
        (tmp_path / "recsys.toml").touch()
    name = os.fsdecode(b"caf\xe9.jsonl")
    (tmp_path / name).touch()
    result = run(tmp_path, *command, name)
    assert result.exit_code == 1
    assert r"caf\\xe9.jsonl' is not UTF-8" in result.output
