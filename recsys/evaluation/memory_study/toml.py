"""A setting as sections of `recsys.toml`."""

from __future__ import annotations

import json
import re

from recsys.config.units import written
from recsys.evaluation.memory_study.result import Point


def sections(point: Point) -> str:
    """The sections of the tables that the setting is about, its shares as numbers of ids.

    A count comes with the capacity that its filter was laid out for.
    """
    return "\n".join(_section(table, point) for table in dict.fromkeys(_tables(point)))


def _tables(point: Point) -> list[str]:
    return [change.rpartition(".")[0] for change in point.family.split()]


def _section(table: str, point: Point) -> str:
    told = point.settings[table]
    lines = [f"[features.tables.{_key(table)}]"]
    if f"{table}.capacity" in point.family.split() or told["admission"] == "count":
        lines.append(f"capacity = {told['capacity']}")
    if told["ttl"] is not None:
        lines.append(f'ttl = "{written(told["ttl"])}"')
    if told["admission"] != "always":
        lines += [f'admission = "{told["admission"]}"', f"threshold = {told['threshold']}"]
        if told.get("fallback", "zeros") != "zeros":  # older results have no fallback
            lines.append(f'fallback = "{told["fallback"]}"')
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
