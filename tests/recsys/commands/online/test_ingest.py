"""`recsys ingest`, as a person meets it."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main
from recsys.commands.online import ingest
from recsys.commands.stopping import STOPPED
from recsys.datasets.registry import DATASETS
from streaming.ingest.formats import sources
from streaming.log.event_log import read_range
from streaming.log.file_log import FileLog


def run(folder: Path, *files: str, options: tuple[str, ...] = ()) -> Result:
    config = folder / "recsys.toml"
    config.touch()
    return CliRunner().invoke(main, ["ingest", "-c", str(config), *options, *(str(folder / file) for file in files)])


def events(path: Path, count: int) -> None:
    lines = (f'{{"type":"interaction","time":{i},"impression":"{path.stem}{i}","item":"a"}}' for i in range(count))
    path.write_text("\n".join(lines) + "\n")


def stored(folder: Path) -> int:
    return sum(FileLog(folder / "run" / "log").end())


@pytest.mark.parametrize(("name", "wrong"), [("missing.jsonl", "does not exist"), ("", "is a folder")])
def test_a_slip_in_one_name_ingests_nothing(tmp_path: Path, name: str, wrong: str) -> None:
    events(tmp_path / "a.jsonl", 10)
    result = run(tmp_path, "a.jsonl", name)
    assert result.exit_code == 1
    assert wrong in result.output
    assert stored(tmp_path) == 0


@contextmanager
def stopped() -> Iterator[threading.Event]:
    """In place of `stopping`: as after Ctrl-C."""
    stop = threading.Event()
    stop.set()
    yield stop


def test_stopped_it_reads_no_further_and_goes_on_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    for name in ("a.jsonl", "b.jsonl"):
        events(tmp_path / name, 100)

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "stopping", stopped)
        result = run(tmp_path, "a.jsonl", "b.jsonl")
    first = stored(tmp_path)
    assert result.exit_code == STOPPED
    assert f"{first} read" in result.output
    said = "".join(result.output.split())
    for name in ("a.jsonl", "b.jsonl"):  # which are of the same times
        assert f"line{first // 2 + 1}of{tmp_path / name}" in said
    assert 0 < first < 40
    assert run(tmp_path, "a.jsonl", "b.jsonl").exit_code == 0
    assert stored(tmp_path) == 200


def said(result: Result) -> str:
    return " ".join(result.output.split())


MAPPING = """
[[log.mapping]]
files = "{files}"
kind = "interaction"
time_unit = "{unit}"
columns = {{ time = "at", impression = "list", item = "what" }}
"""


def mapped(folder: Path, *mappings: str) -> None:
    (folder / "recsys.toml").write_text("".join(mappings))


def test_when_nothing_is_accepted_the_status_is_1_and_the_reasons_are_counted(tmp_path: Path) -> None:
    mapped(tmp_path, MAPPING.format(files="*.csv", unit="s"))
    rows = [f"{time},r{i},a" for i, time in enumerate(["soon", "later", "now"])]
    (tmp_path / "a.csv").write_text("\n".join(["at,list,what", *rows, "1,2", ""]))
    result = run(tmp_path, "a.csv")
    assert result.exit_code == 1
    assert "3 x time: 'soon' in column 'at' is not a number of seconds" in said(result)
    assert "1 x 2 cells for 3 columns" in said(result)
    assert said(result).endswith("nothing was accepted")


def test_what_was_there_before_is_no_failure(tmp_path: Path) -> None:
    events(tmp_path / "a.jsonl", 10)
    assert [run(tmp_path, "a.jsonl").exit_code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("unit", "warning"), [("ms", "Some times are in 1970"), ("s", ""), ("iso", "Some times are before 1990")]
)
def test_the_span_of_times_is_shown_and_judged(tmp_path: Path, unit: str, warning: str) -> None:
    mapped(tmp_path, MAPPING.format(files="*.csv", unit=unit))
    times = ("1985-01-01", "2020-01-01") if unit == "iso" else (1_600_000_000, 1_600_000_060)
    (tmp_path / "a.csv").write_text("at,list,what\n" + "".join(f"{time},r,a\n" for time in times))
    result = run(tmp_path, "a.csv")
    assert result.exit_code == 0
    spans = {"ms": "1970-01-19T12:26:40Z to 1970-01-19T12:26:40Z", "s": "2020-09-13T12:26:40Z to 2020-09-13T12:27:40Z"}
    assert f"Event times: {spans.get(unit, '1985-01-01T00:00:00Z to 2020-01-01T00:00:00Z')}" in said(result)
    assert warning in said(result)
    assert ("Some times" in said(result)) == bool(warning)


def test_patterns_see_folders_and_empty_files_are_skipped(tmp_path: Path) -> None:
    for folder in ("clicks", "lists"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.csv").write_text("at,list,what\n1600000000,r,a\n")
    (tmp_path / "clicks" / "_SUCCESS").touch()
    mapped(tmp_path, MAPPING.format(files="clicks/*.csv", unit="s"))
    assert run(tmp_path, "clicks/part.csv", "clicks/_SUCCESS").exit_code == 0
    assert stored(tmp_path) == 1
    result = run(tmp_path, "lists/part.csv")
    assert result.exit_code == 1
    assert "with a pattern `files` that fits the end of this path" in said(result)


def test_mappings_of_one_pattern_read_a_file_together(tmp_path: Path) -> None:
    shown = """
[[log.mapping]]
files = "*.csv"
kind = "impression"
time_unit = "s"
columns = { time = "at", id = "list", user = "list", items = "what" }
"""
    mapped(tmp_path, shown, MAPPING.format(files="*.csv", unit="s"))
    (tmp_path / "a.csv").write_text("at,list,what\n1600000000,r,a\n1600000001,s,b\n")
    for read in ("4 accepted + 0 duplicate", "0 accepted + 4 duplicate"):
        assert f"4 read = {read}" in said(run(tmp_path, "a.csv"))


def test_a_mapping_behind_one_of_every_file_is_refused(tmp_path: Path) -> None:
    mapped(tmp_path, MAPPING.format(files="*", unit="s"), MAPPING.format(files="*.csv", unit="s"))
    result = run(tmp_path, "a.csv")
    assert result.exit_code == 1
    assert "the mapping of '*.csv' is never used" in said(result)


def test_an_unknown_suffix_ingests_nothing(tmp_path: Path) -> None:
    events(tmp_path / "a.jsonl", 10)
    (tmp_path / "b.dat").write_text("1::2::3\n")
    result = run(tmp_path, "a.jsonl", "b.dat")
    assert result.exit_code == 1
    assert "the suffix .dat is not supported" in said(result)
    assert stored(tmp_path) == 0
    assert not (tmp_path / "run" / "dead-letters.jsonl").exists()


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_folder_without_the_data_set_is_named(tmp_path: Path, dataset: str) -> None:
    result = run(tmp_path, "nothing", options=("--dataset", dataset))
    assert result.exit_code == 1
    assert f"{tmp_path / 'nothing'} does not hold the data set {dataset}: " in result.output


def test_a_data_set_is_ingested_with_its_card(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,7,4.5,900\n1,8,2.0,910\n")
    (data / "movies.csv").write_text("movieId,title,genres\n7,Heat (1995),Crime\n8,Sabrina (1995),Comedy\n")
    result = run(tmp_path, "data", options=("--dataset", "movielens-small"))
    assert result.exit_code == 0, result.output
    assert "2 ratings" in result.output
    assert "4 read = 4 accepted" in result.output
    assert stored(tmp_path) == 4


def test_ids_that_are_numbers_and_times_in_text_are_read_as_in_tables(tmp_path: Path) -> None:
    shown = ('{{"type":"impression","id":{},"time":{},"user":{},"items":{}}}'.format(*one) for one in [
        (1, "1600000000000", '"u"', '["a",12]'), ('"r"', '"2020-09-13T12:26:40Z"', 7, '["a"]'),
        (2, '"1600000000000"', '"7"', "[1,2]"), (3, "1600000000000.0", '"u"', '["b"]'),
        (4, "1600000000000", "null", '["b"]'), (5, '"soon"', '"u"', '["b"]'), (6, "1600000000000", "true", '["b"]'),
    ])  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(shown) + "\n")
    output = said(run(tmp_path, "a.jsonl"))
    assert "7 read = 4 accepted + 0 duplicate + 3 dead-lettered" in output
    assert "Event times: 2020-09-13T12:26:40Z to 2020-09-13T12:26:40Z" in output
    log = FileLog(tmp_path / "run" / "log")
    events = read_range(log, 0, 0, log.end()[0])
    rows = [row for chunk in events for row in chunk.events.select(["id", "user", "items"]).to_pylist()]
    assert [tuple(row.values()) for row in rows] == [
        ("1", "u", ["a", "12"]), ("r", "7", ["a"]), ("2", "7", ["1", "2"]), ("3", "u", ["b"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("yes", "says"),
    [
        ("no,yes", "100 % of the 40 shown items are positive"),
        ("YES", "0 % of the 40 shown items are positive"),
        ("yes", ""),
    ],
)
def test_labels_that_are_all_the_same_are_said(tmp_path: Path, yes: str, says: str) -> None:
    shown = """
[[log.mapping]]
files = "*.csv"
kind = "shown"
time_unit = "s"
positive_values = {yes}
[log.mapping.columns]
time = "at"
user = "user"
item = "item"
"actions.click" = "outcome"
"""
    (tmp_path / "recsys.toml").write_text(shown.replace("{yes}", str(yes.split(","))))
    rows = (f"{1_600_000_000 + i},u{i % 3},i{i % 7},{['no', 'yes'][i % 2]}" for i in range(40))
    (tmp_path / "a.csv").write_text("\n".join(["at,user,item,outcome", *rows]) + "\n")
    output = said(run(tmp_path, "a.csv"))
    assert says in output
    assert ("% of the 40 shown items" in output) is bool(says)


def test_rows_read_again_with_another_unit_are_refused_with_the_remedy(tmp_path: Path) -> None:
    shown = """
[[log.mapping]]
files = "*.csv"
kind = "impression"
time_unit = "{unit}"
[log.mapping.columns]
id = "list"
time = "at"
user = "who"
items = "what"
"""
    (tmp_path / "a.csv").write_text("at,list,who,what\n1600000000,r,u,a\n1600000060,s,u,a\n")
    mapped(tmp_path, shown.format(unit="ms"))
    assert run(tmp_path, "a.csv").exit_code == 0
    mapped(tmp_path, shown.format(unit="s"))
    told = " ".join(said(run(tmp_path, "a.csv")).split())
    assert "2 records have the id of an event in the log" in told
    assert "name new folders in [log] url and [training] checkpoints, and ingest again" in told


def test_the_remedy_for_a_missing_label_column_works(tmp_path: Path) -> None:
    shown = """
[[log.mapping]]
files = "*.csv"
kind = "shown"
time_unit = "s"
[log.mapping.columns]
time = "at"
user = "who"
item = "what"
"""
    (tmp_path / "a.csv").write_text("at,who,what,did\n1600000000,u,a,1\n")
    mapped(tmp_path, shown)
    told = said(run(tmp_path, "a.csv"))
    remedy = re.search(r"such as `(.*?)`", told)
    assert remedy is not None, told
    mapped(tmp_path, shown + remedy[1].replace("NAME OF THE COLUMN", "did") + "\n")
    assert run(tmp_path, "a.csv").exit_code == 0
    assert stored(tmp_path) == 2


def test_of_many_files_the_one_that_cannot_be_opened_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    mapped(
        tmp_path,
        '[[log.mapping]]\nfiles = "part*"\nkind = "item"\nformat = "csv"\ncolumns = { time = "at", item = "item" }',
    )
    for n in range(3):
        (tmp_path / f"part{n}.csv.gz").write_bytes(gzip.compress(f"at,item\n{1_700_000_000_000 + n},i{n}\n".encode()))
    broken = tmp_path / "part1.csv.gz"
    broken.write_bytes(broken.read_bytes()[:14])
    result = run(tmp_path, "part0.csv.gz", "part1.csv.gz", "part2.csv.gz")
    assert result.exit_code == 1
    assert "part1.csv.gz, from line 1 on: Truncated" in said(result)
    assert "put a whole, readable copy in place of each file named here and run the same command again" in said(result)
    assert "ingest all files into a new log" in said(result)
    assert stored(tmp_path) == 2
    broken.write_bytes(gzip.compress(b"at,item\n1600000000000,i1\n"))
    result = run(tmp_path, "part0.csv.gz", "part1.csv.gz", "part2.csv.gz")
    assert result.exit_code == 0
    assert stored(tmp_path) == 3


def test_of_one_file_that_is_damaged_no_other_is_spoken_of(tmp_path: Path) -> None:
    line = b'{"type":"item","time":1600000000000,"item":"a"}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line)[:-9])
    mapped(tmp_path, "")
    result = run(tmp_path, "a.jsonl.gz")
    assert result.exit_code == 1
    assert "Truncated" in said(result)
    assert "put a whole, readable copy in place" in said(result)
    assert "new log" not in said(result)
