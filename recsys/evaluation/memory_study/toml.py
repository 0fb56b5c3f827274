"""A setting as sections of `recsys.toml`."""

from __future__ import annotations

import json
import re

from recsys.config.units import written
from recsys.evaluation.memory_study.study_result import MeasuredSetting


def sections(point: MeasuredSetting) -> str:
    """The sections of the tables that the setting changes, with shares as numbers of ids.

    An admission count is written with the capacity that its filter was laid out for.
    """
    return "\n".join(_section(table, point) for table in dict.fromkeys(_tables(point)))


def _tables(point: MeasuredSetting) -> list[str]:
    return [change.rpartition(".")[0] for change in point.family.split()]


def _section(table: str, point: MeasuredSetting) -> str:
    section = point.settings[table]
    lines = [f"[features.tables.{_key(table)}]"]
    if f"{table}.capacity" in point.family.split() or section["admission"] == "count":
        lines.append(f"capacity = {section['capacity']}")
    if section["ttl"] is not None:
        lines.append(f'ttl = "{written(section["ttl"])}"')
    if section["admission"] != "always":
        lines += [f'admission = "{section["admission"]}"', f"threshold = {section['threshold']}"]
        if section.get("fallback", "zeros") != "zeros":  # older results have no fallback
            lines.append(f'fallback = "{section["fallback"]}"')
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
