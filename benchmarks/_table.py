"""The tables of saved results, in `docs/benchmarks.md` and `docs/streaming.md`: `python -m benchmarks._table`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import _gap_table
from benchmarks.harness import ROOT

RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
STREAMING = ROOT / "docs" / "streaming.md"
HEAD = """# Benchmarks
Made by `python -m benchmarks._table` from the results in [results](results), which hold every round's measurement. Each
was saved by `python -m benchmarks NAME --save`, which makes this page anew; ours and the peer are measured in turn.

| benchmark | what | value | target | met | commit | machine |
|---|---|---:|---:|---|---|---|
"""


def page(results: Path = RESULTS) -> str:
    return HEAD + "".join(
        row for file in sorted(results.glob("*.json")) for row in _rows(json.loads(file.read_bytes()))
    )


def streaming_page(results: Path = RESULTS) -> str:
    """`docs/streaming.md` with the table of the saved results."""
    raw = json.loads((results / "labels.json").read_bytes())["raw"]
    return _gap_table.filled(STREAMING.read_text(encoding="utf-8"), raw)


def _rows(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    where = f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB, {machine['cpu']}"
    return [
        f"| `{result['name']}` | {target['what']} | {target['value']:,.4g} "
        f"| {'>=' if target['better'] == 'higher' else '<='} {target['target']:,.4g} "
        f"| {'yes' if target['met'] else '**no**'} | {result['commit']} | {where} |\n"
        for target in result["targets"]
    ]


def write() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    STREAMING.write_text(streaming_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
