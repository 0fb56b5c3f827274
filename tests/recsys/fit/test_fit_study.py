"""The table of AutoInt's paper, from planted ratings."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from embedding.multiplexed import shared_tables
from recsys import wiring
from recsys.cli import main
from recsys.commands.offline import reproduce
from recsys.commands.stopping import STOPPED
from recsys.config.file import parse
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.datasets.ml1m_stream import ml1m_stream
from recsys.errors import InvalidValueError
from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.fit_study import FitStudy, FitStudyResult, FitTable
from recsys.fit.studies.gated_table import GATED
from recsys.fit.studies.histories_table import HISTORIES
from recsys.fit.studies.study_rows import StudyRows
from recsys.fit.studies.unified_table import IDS, SIZES, UNIFIED
from streaming.events.columns import IMPRESSION, INTERACTION
from tests.recsys.commands.online.test_ingest import stopped
from tests.recsys.datasets.test_datasets import shared

FEW = replace(AUTOINT, models={name: AUTOINT.models[name] for name in ("LR", "FM")}, epochs=12)
RATINGS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Comedies of 1977 are liked, dramas of 1995 are not; a rating of 3 is neither."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    movies = rng.integers(1, 5, RATINGS)
    stars = np.where(rng.random(RATINGS) < 0.1, 3, np.where(movies % 2, 5, 1))
    columns = {
        "user_id": rng.integers(1, 9, RATINGS),
        "movie_id": movies,
        "rating": stars,
        "timestamp": 978_300_000.0 + np.arange(RATINGS),
    }
    pa.parquet.write_table(pa.table(columns), data / "ratings.parquet")
    (data / "users.dat").write_text("".join(f"{user}::F::25::3::1234{user}\n" for user in range(1, 9)))
    kinds = {1: "(1977)::Comedy", 0: "(1995)::Drama"}
    (data / "movies.dat").write_text("".join(f"{m}::Movie {m} {kinds[m % 2]}\n" for m in range(1, 5)))
    return data


def test_rows_of_the_paper(folder: Path) -> None:
    events = ml1m_autoint(folder)
    stars = pa.parquet.read_table(folder / "ratings.parquet")["rating"].to_numpy()
    kinds = events["kind"].to_pylist()
    assert kinds.count(IMPRESSION) == (stars != 3).sum()
    assert kinds.count(INTERACTION) == (stars > 3).sum()


@pytest.mark.slow
@pytest.mark.shared_data
def test_movielens_as_published() -> None:
    kinds = ml1m_autoint(shared("ml-1m/ratings.parquet").parent)["kind"].to_pylist()
    assert kinds.count(IMPRESSION) == 739_012
    assert kinds.count(INTERACTION) == 575_281


def test_what_is_done_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    stop, said = threading.Event(), list[str]()
    study = FitStudy(FEW, ml1m_autoint(folder).to_batches(), tmp_path / "fits", 1, stop)
    first = next(study.rows(study.empty(), said.append))
    assert (first.model, first.seed, first.epochs) == ("LR", 0, 12)
    assert first.auc > 0.7
    part = FitStudyResult.from_json(msgspec.structs.replace(study.empty(), rows=(first,)).to_json())

    def stop_in_second_epoch(doing: str) -> None:
        said.append(doing)
        if doing == "FM, seed 0, epoch 2":
            stop.set()

    assert list(study.rows(part, stop_in_second_epoch)) == []
    assert said[-1] == "FM, seed 0, epoch 2"
    stop.clear()
    said.clear()
    (second,) = study.rows(part, said.append)
    assert said[:2] == ["FM, seed 0", "FM, seed 0, epoch 3"]  # it goes on after what was learned
    whole = msgspec.structs.replace(part, rows=(first, second))
    assert [row[:3] for row in whole.table(FEW)[1:]] == [
        ["LR", "1", f"{first.auc:.4f}"],
        ["FM", "1", f"{second.auc:.4f}"],
    ]
    other = FitStudy(replace(FEW, epochs=13), ml1m_autoint(folder).to_batches(), tmp_path / "fits", 1, stop)
    with pytest.raises(InvalidValueError, match="other settings"):
        list(other.rows(part, said.append))


@pytest.mark.parametrize("table", [AUTOINT, GATED, HISTORIES, UNIFIED], ids=lambda table: table.name)
def test_every_model_of_a_table_has_settings_and_a_folder_of_its_own(table: FitTable, tmp_path: Path) -> None:
    configs = [parse(table.settings_of(model, 3), tmp_path / "recsys.toml") for model in table.models]
    assert {config.training.seed for config in configs} == {3}
    assert len({config.training.checkpoints for config in configs}) == len(table.models)


def test_gates_are_compared_with_a_model_that_is_as_large(tmp_path: Path) -> None:
    sizes = {}
    for name in ("DeepFM, as large", "gated"):
        config = parse(GATED.settings_of(name, 0), tmp_path / "recsys.toml")
        sizes[name] = sum(weights.numel() for weights in wiring.model(config).parameters())
    assert sizes["gated"] == pytest.approx(sizes["DeepFM, as large"], rel=0.002)


def test_methods_of_unified_embedding_have_as_many_rows_and_only_one_shares_them_among_fields(tmp_path: Path) -> None:
    for size, rows in SIZES.items():
        stores = {}
        for method in ("multiplexed", "hashed"):
            config = parse(UNIFIED.settings_of(f"{method}, {size}", 0), tmp_path / "recsys.toml")
            stores[method] = shared_tables(wiring.tables(config))
        assert [table.capacity for table in stores["multiplexed"].values()] == [rows]
        assert len(stores["hashed"]) == len(IDS)
        assert sum(table.capacity for table in stores["hashed"].values()) == pytest.approx(rows, abs=6)
    assert sum(IDS.values()) == SIZES["1.6 MB"]


def test_rows_of_histories_have_the_ratings_before(folder: Path, tmp_path: Path) -> None:
    """Those of the part whose times are exact: before it all ratings of a user have one time, none before another."""
    path = folder / "ratings.parquet"
    ratings = pa.parquet.read_table(path)
    period = np.where(np.arange(RATINGS) < RATINGS * 0.8, "train80", "test20")
    pa.parquet.write_table(ratings.append_column("period", pa.array(period)), path)
    (tmp_path / "fits").mkdir()
    config = parse(HISTORIES.settings_of("mean", 0), tmp_path / "fits" / "recsys.toml")
    rows = StudyRows(ml1m_stream(folder), tmp_path / "fits").parts(config).training
    seen: dict[int, int] = {}
    for user, rated in zip(rows.ids["user"].values.tolist(), rows.ids["rated"].lengths_B.tolist(), strict=True):
        assert rated == min(seen.get(user, 0), 20)
        seen[user] = rated + 1
    assert len(rows) == pytest.approx(RATINGS * 0.2 * 0.8, abs=1)


def test_a_table_is_fitted_to_shared_rows(folder: Path, tmp_path: Path) -> None:
    few = replace(UNIFIED, models={name: UNIFIED.models[name] for name in ("hashed, 158 kB",)}, epochs=1)
    study = FitStudy(few, ml1m_autoint(folder).to_batches(), tmp_path / "fits", 1, threading.Event())
    (row,) = study.rows(study.empty(), lambda _doing: None)
    assert 0 <= row.auc <= 1
    head, line = FitStudyResult(settings={}, rows=(row,)).table(few)
    assert head[2:6] == ["AUC", "published", "log loss", "epochs"]  # of log loss nothing was published
    assert line[3:5] == ["0.7707", f"{row.log_loss:.4f}"]


def test_stopped_before_the_end_is_no_success(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "stopping", stopped)
    done = CliRunner().invoke(main, ["reproduce", "autoint", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == STOPPED
    assert "Run it again" in done.output


def test_a_folder_without_movielens_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["reproduce", "autoint", str(tmp_path)])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "there is no ratings.dat or ratings.parquet" in said
    assert "unpack ml-1m.zip" in said


def test_the_tables_are_listed_in_full() -> None:
    said = CliRunner().invoke(main, ["reproduce", "--help"], terminal_width=80).output
    assert "open-bandit" in said
    assert "..." not in said.partition("Commands:")[2]
    other = CliRunner().invoke(main, ["reproduce", "nonsense"])
    assert other.exit_code == 2
    assert "there is no table 'nonsense'; choose one of autoint, coat," in other.output
