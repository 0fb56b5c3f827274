"""The tables of saved results, in `docs/benchmarks.md` and `docs/streaming.md`: `python -m benchmarks._table`."""

from __future__ import annotations

import ast
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import _gap_table
from benchmarks.harness import ROOT, Target, saved

RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
STREAMING = ROOT / "docs" / "streaming.md"
HEAD = """# Benchmarks
Made by `python -m benchmarks._table` from the results in [results](results), which hold every round's measurement, the
command and the machine. Ours and the peer are measured in turn, in one run. A target is that of the newest run; a
figure that misses it is bold. A run replaces the last one on a processor of the same maker, family and model; those of
other processors stay beside it. What a benchmark measures is said above its table, and how, with its peers, in the
module of that name in [`benchmarks/`](../benchmarks).
"""


def page(results: Path = RESULTS) -> str:
    by_name = sorted(saved(results), key=lambda result: str(result["name"]))
    return HEAD + "".join(_section(name, list(runs)) for name, runs in groupby(by_name, lambda run: str(run["name"])))


def streaming_page(results: Path = RESULTS) -> str:
    """`docs/streaming.md` with the table of the saved results."""
    return _gap_table.filled(STREAMING.read_text(encoding="utf-8"), saved(results, "labels")[-1]["raw"])


def _section(name: str, runs: list[dict[str, Any]]) -> str:
    """A benchmark: a row for each figure of the newest run, a column for each run."""
    figures = [{target["what"]: target["value"] for target in run["targets"]} for run in runs]
    heads = "".join(f" {_where(run)} |" for run in runs)
    lines = [
        f"\n## {name}",
        _what(name),
        "",
        f"| `{_command(runs[-1])}` | target |{heads}",
        f"|---|---:|{'---:|' * len(runs)}",
    ]
    for asked in runs[-1]["targets"]:
        cells = "".join(f" {_cell(asked, values.get(asked['what']))} |" for values in figures)
        sign = ">=" if asked["better"] == "higher" else "<="
        lines.append(f"| {asked['what']} | {sign} {asked['target']:,.4g} |{cells}")
    return "\n".join(lines) + "\n"


def _what(name: str) -> str:
    """The first paragraph of the benchmark's module, read and not imported: some need what is not installed."""
    module = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(module) or ""
    return said.partition("\n\n")[0]


def _command(run: dict[str, Any]) -> str:
    """By which it is measured again, with the options of that run."""
    command = str(run.get("command", f"python -m benchmarks {run['name']}"))
    return command.removesuffix(" --save")


def _cell(asked: dict[str, Any], value: float | None) -> str:
    if value is None:
        return "-"
    met = Target(asked["what"], value, asked["target"], asked["better"]).met
    return f"{value:,.4g}" if met else f"**{value:,.4g}**"


def _where(run: dict[str, Any]) -> str:
    machine = run["machine"]
    who = machine.get("processor", machine["cpu"])
    return f"{who}, {machine['cores']} cores, {run['commit']}, {run['date']}, load {machine['load']:.1f}"


def write() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    STREAMING.write_text(streaming_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
