"""How two studies differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from recsys.evaluation.memory_study.study_result import StudyResult

_NONE = "missing"


def differences(earlier: StudyResult, now: StudyResult) -> list[str]:
    """Differences between two studies in stage, configuration and log. Seeds and tried settings may
    differ."""
    was, is_ = _facts(earlier), _facts(now)
    pairs = ((name, was.get(name, _NONE), is_.get(name, _NONE)) for name in was | is_)
    return [f"{name} was {before} and is {after}" for name, before, after in pairs if before != after]


def _facts(result: StudyResult) -> dict[str, str]:
    facts = {
        "--batch-until": _iso(result.batch_until),
        "the end (--until, or that of the log)": _iso(result.until),
        "--refresh": result.refresh,
    }
    facts |= {name: repr(value) for name, value in _flat("", result.config)}
    return facts | {f"the log's count of {name}": f"{count:,}" for name, count in result.counts.items()}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted names with their values.

    >>> dict(_flat("", {"model": {"name": "fm", "mlp": [64, 32]}}))
    {'model.name': 'fm', 'model.mlp.0': 64, 'model.mlp.1': 32}
    """
    if not isinstance(value, dict | list):
        yield prefix, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flat(f"{prefix}.{key}".lstrip("."), inner)


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
