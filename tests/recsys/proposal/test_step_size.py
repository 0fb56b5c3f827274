"""How many rows a step takes follows from how many the files have."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.config.sections.learning.training import TrainingSection
from recsys.proposal.first_model import small_steps
from recsys.proposal.ingest_trial import trial
from recsys.proposal.proposal import propose
from recsys.proposal.roles.roles import Said
from recsys.proposal.step_size import row_count, shown_items, step_size


def test_rows_of_parquet_are_counted(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item": list(range(70_000))}), tmp_path / "a.parquet")
    assert row_count(tmp_path / "a.parquet") == 70_000


def test_rows_of_a_long_text_are_estimated_from_its_head(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item,clicked\n" + "i1234567890,1\n" * 200_000)
    assert row_count(tmp_path / "a.csv") == pytest.approx(200_000, rel=0.01)


def test_a_compressed_file_counts_its_head_at_least(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"i1,1\n" * 1000))
    assert row_count(tmp_path / "a.csv.gz") == 1000


@pytest.mark.parametrize("rows", [1, 5, 100, 10_000, 10**6, 10**9])
def test_steps_grow_with_the_log_up_to_the_default(rows: int) -> None:
    assert step_size(rows) <= step_size(2 * rows) <= TrainingSection().batch_size


def test_only_a_log_of_few_rows_has_small_steps_from_rows_that_begin_apart() -> None:
    few, many = small_steps(100_000.0, columns=3), small_steps(10_000_000.0, columns=40)
    assert {name: noted.value for name, noted in few.items()} == {"batch_size": 32, "init_scale": 0.1}
    assert few["batch_size"].note.startswith("for some 100,000 shown items")
    assert not many


def test_a_log_of_few_rows_and_many_columns_has_a_smaller_rate() -> None:
    assert "sparse_lr" not in small_steps(100_000.0, columns=16)
    assert small_steps(100_000.0, columns=24)["sparse_lr"].value < TrainingSection().sparse_lr


def test_files_beyond_enough_rows_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("i1,1\n" * 100_000)
    files = [tmp_path / "a.csv", tmp_path / "is not there.csv"]
    assert step_size(round(shown_items(files, found=100, read=10))) == TrainingSection().batch_size
    with pytest.raises(FileNotFoundError):
        shown_items(files, found=10, read=10)


def test_rows_of_lists_count_as_rows_and_not_as_events(tmp_path: Path) -> None:
    lines = ["time,user_id,item_id,clicked"]
    lines += [f"{1_700_000_000 + 30 * (n // 6)},u{n // 6 % 50},i{n * 7 % 60},{int(n % 6 == 2)}" for n in range(60_000)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    proposal = propose([tmp_path / "a.csv"], Said())
    tried = trial(proposal.config(tmp_path / "recsys.toml"), proposal.files)
    assert tried.counts.read < tried.rows / 2, "a list of six shown items is one event, and a click one more"
    proposal = proposal.for_labels(tried.labels, tried.rows)
    assert proposal.short, "so that a fit is named"
    assert proposal.training["batch_size"].note.startswith("for some 60,000 shown items")
