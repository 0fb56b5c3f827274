"""The table of `docs/streaming.md`: how much of what waiting for labels costs each scheme wins back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN, END = "<!-- table: labels -->\n", "<!-- end -->"

Measured = dict[str, Any]


def share_of_gap(case: Mapping[str, Measured], scheme: str) -> float:
    """How much of what `held` loses in log loss against the oracle the scheme does not."""
    held, best = case["held"]["log_loss"], case["oracle"]["log_loss"]
    return float((held - case[scheme]["log_loss"]) / (held - best))


def table(raw: Mapping[str, Mapping[str, Measured]]) -> str:
    """By case, each scheme's share of the gap, and the least and greatest calibration of a window."""
    names = list(next(iter(raw.values())))
    lines = [f"| traffic, clicks after (mean) | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for name, case in raw.items():
        cells = [f"{share_of_gap(case, scheme):.2f}, {_range(measured)}" for scheme, measured in case.items()]
        lines.append(f"| {name.replace(', clicks after', ',')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _range(measured: Measured) -> str:
    ratios = measured["calibration"]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def filled(page: str, raw: Mapping[str, Mapping[str, Measured]]) -> str:
    """The page with the table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table(raw) + END + rest.partition(END)[2]
