"""Room for the texts of what waits in the tables.

Shape suffix: L texts that are still needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streaming.join.tables.event_columns import EventColumns
from streaming.join.tables.kept_texts import HEAD, UNUSED, move
from streaming.join.tables.kernels import HELD
from streaming.join.tables.layout import Table, Tables, Zeros


def with_text_room(t: Tables, e: EventColumns | None = None, id_bytes: int = 0, zeros: Zeros = np.zeros) -> Tables:
    """The tables, with room for the texts of these events more, and for so many bytes of ids; `zeros` makes it."""
    if e is None:
        needs = {"key_texts": id_bytes}
    else:
        shown = int(np.count_nonzero(e.kinds_N == 0))
        needs = {
            "texts": e.text_bytes,
            "numbers": shown * HEAD + e.shown + e.propensities,
            "acted_texts": int(e.item.offsets[-1] - e.item.offsets[0]),
            "key_texts": e.key_bytes + id_bytes,
        }
    grown: dict[str, Any] = {name: _with_room(t, name, need, zeros) for name, need in needs.items()}
    return t._replace(**{name: texts for name, texts in grown.items() if texts is not None})


def _with_room(t: Tables, name: str, need: int, zeros: Zeros) -> Table | None:
    """The texts with room for so many more behind their end; None where it is there. Unneeded ones are dropped."""
    texts, now = getattr(t, name), t.now[0]
    table, live, start, size, end = _uses(t, name)
    if now[end] + need <= len(texts):
        return None
    rows_L = np.flatnonzero(live)
    rows_L = rows_L[np.argsort(table[start][rows_L])]
    starts_L, sizes_L = table[start][rows_L], table[size][rows_L]
    least = 3 * (int(sizes_L.sum()) + need) // 2  # with twice as much the texts move less often, and take 17 MiB more
    room = texts if len(texts) >= least else zeros(least, texts.dtype)
    now[end] = move(room, texts, starts_L, sizes_L)
    table[start][rows_L] = starts_L
    return room


def _uses(t: Tables, name: str) -> tuple[Any, Any, str, str, str]:
    """Whose texts these are: the rows, which of them are needed, the names of start and size, and of the end of all."""
    match name:
        case "texts":
            return t.opened, t.opened["open"], "text", "text_size", "text_end"
        case "numbers":
            return t.opened, t.opened["open"], "number_start", "number_size", "number_end"
        case "acted_texts":
            return t.acted, t.acted["state"] == HELD, "text", "text_size", "acted_end"
    return t.keys, t.keys["state"] != UNUSED, "text", "text_size", "key_end"
