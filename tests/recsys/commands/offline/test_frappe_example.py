"""The example for Frappe takes its rows in both of their public forms, and learns what was planted in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from tests.test_docs import ROOT

pytestmark = pytest.mark.slow

FIELDS = ["user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"]
ROWS = 4000


def rows() -> tuple[list[int], list[list[int]]]:
    """Labels and one index for each field: an app is used where its number and the time of day have one parity."""
    draw = np.random.default_rng(0)
    indices = draw.integers(20, size=(ROWS, len(FIELDS)))
    labels = (indices[:, 1] + indices[:, 2]) % 2
    return labels.tolist(), (indices + 20 * np.arange(len(FIELDS))).tolist()


def as_libfm(path: Path) -> None:
    labels, indices = rows()
    lines = (f"{2 * y - 1} " + " ".join(f"{index}:1" for index in own) for y, own in zip(labels, indices, strict=True))
    path.write_text("".join(f"{line}\n" for line in lines))


def as_csv(path: Path) -> None:
    labels, indices = rows()
    lines = (",".join(map(str, [y, *own])) for y, own in zip(labels, indices, strict=True))
    path.write_text("".join(f"{line}\n" for line in [",".join(["label", *FIELDS]), *lines]))


@pytest.mark.parametrize(("name", "write"), [("frappe.train.libfm", as_libfm), ("train.csv", as_csv)])
def test_both_forms_are_learned(tmp_path: Path, name: str, write: object) -> None:
    assert callable(write)
    (tmp_path / "examples").mkdir()
    config, out = tmp_path / "examples" / "frappe.toml", tmp_path / "out"
    shutil.copy(ROOT / "examples" / "frappe.toml", config)
    text = config.read_text().replace("batch_size = 4096", "batch_size = 64").replace("l2 = 0.1", "l2 = 0.001")
    config.write_text(text.replace("epochs = 100", "epochs = 6").replace("400, 400, 400", "32"))
    write(tmp_path / name)
    commands = ["ingest", str(tmp_path / name)], ["fit", "--out", str(out)], ["evaluate", "--out", str(out)]
    for command, *arguments in commands:
        done = CliRunner().invoke(main, [command, "-c", str(config), *arguments])
        assert done.exit_code == 0, done.output
    click = json.loads((out / "evaluation.json").read_text())["tasks"]["click"]
    assert 0.05 * ROWS < click["rows"] < 0.15 * ROWS
    assert click["auc"] > 0.9
