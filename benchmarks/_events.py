"""A realistic log as JSON lines: events as a shop with a mobile app would send them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIX = "75 % interactions, 20 % impressions of 10 items with 4 features, 5 % item updates; 1 % repeated, 0.1 % malformed"
NOW = 1_700_000_000_000


def lines(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` lines; about four interactions per impression, each of one of the last hundred impressions."""
    rng = random.Random(seed)
    shown: list[tuple[str, list[str]]] = [("r0", ["item-0"])]
    line = b""
    for i in range(count):
        luck = rng.random()
        if luck < 0.01 and line:
            pass  # the line before once more
        elif luck < 0.011:
            line = b'{"type":"interaction","time":'
        else:
            line = json.dumps(_event(rng, i, shown), separators=(",", ":")).encode()
        yield line


def _event(rng: random.Random, i: int, shown: list[tuple[str, list[str]]]) -> dict[str, Any]:
    time, kind = NOW + i, rng.random()
    if kind < 0.75:
        impression, items = rng.choice(shown)
        what = {"item": rng.choice(items), "action": "click", "id": f"{rng.getrandbits(64):016x}"}
        return {"type": "interaction", "time": time, "impression": impression, "value": 1.0, **what}
    if kind < 0.95:
        items = [f"item-{n:06d}" for n in rng.sample(range(100_000), 10)]
        shown[:] = [*shown[-99:], (f"req-{i:012x}", items)]
        features = {
            "device": "phone",
            "country": rng.choice(["br", "de", "in"]),
            "age": rng.randint(16, 90),
            "os": "android",
        }
        user = f"u{rng.randrange(1_000_000)}"
        where = {"experiment": "first", "arm": rng.choice(["online", "frozen"]), "model": "autoint-17"}
        shown_now = {"id": shown[-1][0], "time": time, "user": user, "items": items, "features": features}
        return {"type": "impression", **shown_now, **where}
    features = {"category": rng.choice("abcdefgh"), "price": round(rng.random() * 100, 2), "tags": ["new", "sale"]}
    return {"type": "item", "time": time, "item": f"item-{rng.randrange(100_000):06d}", "features": features}


def write(path: Path, count: int) -> int:
    """Write the log to `path`; returns its size in bytes."""
    with path.open("wb") as file:
        for line in lines(count):
            file.write(line + b"\n")
    return path.stat().st_size
