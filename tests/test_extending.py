"""The steps of docs/extending.md, followed literally."""

from __future__ import annotations

import doctest
import json
import re
import textwrap
from pathlib import Path

import numpy as np

from recsys.evaluation import metrics
from recsys.evaluation.replay.arms import frozen
from recsys.evaluation.replay.report import html, markdown
from tests.recsys.evaluation.replay.test_figures import rows_of
from tests.recsys.evaluation.replay.test_report import result_of

GUIDE = Path(__file__).parents[1] / "docs" / "extending.md"


def steps(section: str) -> list[str]:
    """The Python blocks of a section of the guide."""
    text = GUIDE.read_text("utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def test_add_a_metric() -> None:
    before = dict(metrics.METRICS)
    try:
        names = dict(vars(metrics))
        write, register = steps("Add a metric")
        exec(compile("from __future__ import annotations\n" + write, "metrics.py", "exec"), names)
        exec(register, names)
        for example in doctest.DocTestFinder(recurse=False).find(names["brier"], "brier", module=False, globs=names):
            assert doctest.DocTestRunner().run(example) == (0, 1)

        rows = rows_of(np.random.default_rng(0).integers(0, 2, 600).tolist())
        result = result_of(rows, [frozen(0)])
        value = json.loads(result.to_json())["arms"][0]["all"]["brier"]
        assert 0 < value < 1
        assert all("brier" in figures for figures in result.arms[0].slices.values())
        assert "Brier score" in markdown(result)
        assert f"{value:.4f}" in markdown(result)
        assert html(result).count("<th>Brier score</th>") == 1
        assert f"<td>{result.arms[0].slices['new user']['brier']:.4f}</td>" in html(result)
        assert f"{value:.4f}" in html(result)
    finally:
        metrics.METRICS.clear()
        metrics.METRICS.update(before)
