"""Embedding tables of the trainers, and records that ingestion refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import LogError
from serving.api.monitoring.server_state import ServerState
from serving.console.figures import FigureTable
from serving.console.readable import count
from serving.console.rendering import Renderer
from streaming.log.event_log import EventLog, RefusingLog

_COUNTERS: Final = (
    "live", "cold", "moved_out", "brought_back", "admitted", "unadmitted", "expired", "evicted", "erased", "refused",
    "stale", "nonfinite", "ahead",
)  # fmt: skip
_MIB: Final = 1 << 20
_READ: Final = 4 << 20
"""Bytes at the end of the dead letters that are looked at."""
_MOST: Final = 50
"""Reasons that are shown, the most frequent ones."""
_SAMPLE: Final = 300
_NEWEST: Final = 1_000
"""Records of a log that are looked at."""
_LETTERS: Final = ("letter_reason", "letters", "letter_place", "letter_raw")


class TablesPage:
    """`dead_letters` is the file that ingestion on this machine writes; `log` may have refused records, too."""

    def __init__(self, render: Renderer, state: ServerState, dead_letters: Path, log: EventLog) -> None:
        self._render, self._state, self._dead_letters, self._log = render, state, dead_letters, log

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        letters, cut = await asyncio.to_thread(_newest, self._dead_letters)
        refused, failure = await asyncio.to_thread(_of_log, self._log)
        return self._render.page(
            "tables.html",
            "tables",
            tables=[_table(model, latest.status) for model, latest, _ in self._state.aged_trainers()],
            letters=_by_reason("Refused records by reason", letters, _in_file) if letters else None,
            cut=cut,
            of_log=isinstance(self._log, RefusingLog),
            refused=_by_reason("Refused records of the log by reason", refused, _in_topic) if refused else None,
            failure=failure,
            newest=count(_NEWEST),
            path=str(self._dead_letters),
        )


def _table(model: str, status: dict[str, Any]) -> FigureTable:
    rows = [
        (table, *(count(counters.get(name, 0)) for name in _COUNTERS), f"{counters.get('bytes', 0) / _MIB:,.2f}")
        for table, counters in sorted(status.get("tables", {}).items())
    ]
    return FigureTable.of(f"Embedding tables of {model}", ("table", *_COUNTERS, "bytes"), rows)


def _newest(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The entries at the end of the file, and whether there are earlier ones."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _READ, 0))
            lines = file.read(_READ).splitlines()[1 if size > _READ else 0 :]
    except OSError:
        return [], False
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line of a killed writer
        found += [entry] if isinstance(entry, dict) else []
    return found, size > _READ


def _of_log(log: EventLog) -> tuple[list[dict[str, Any]], str]:
    """What a log has refused recently, and why that cannot be said."""
    if not isinstance(log, RefusingLog):
        return [], ""
    try:
        return log.refused(_NEWEST), ""
    except LogError as error:
        return [], str(error)


def _in_file(letter: Mapping[str, Any]) -> str:
    return f"{letter.get('source', '')}, line {letter.get('line', '')}"


def _in_topic(letter: Mapping[str, Any]) -> str:
    return f"{letter.get('topic', '')}, partition {letter.get('partition', '')}, offset {letter.get('offset', '')}"


def _by_reason(
    name: str, letters: Sequence[Mapping[str, Any]], place: Callable[[Mapping[str, Any]], str]
) -> FigureTable:
    counts = Counter(str(one.get("reason", "")) for one in letters)
    newest = {str(one.get("reason", "")): one for one in letters}
    rows = [
        (reason, count(number), place(newest[reason]), str(newest[reason].get("raw", ""))[:_SAMPLE])
        for reason, number in counts.most_common(_MOST)
    ]
    return FigureTable.of(name, _LETTERS, rows)
