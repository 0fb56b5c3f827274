"""Writes examples/events.jsonl: two days of a made-up café whose guests have tastes."""

import json
import random
from pathlib import Path

FAME = {"tea": 1.0, "coffee": 1.0, "cocoa": 0.6, "lemonade": 0.8, "cola": 0.4, "water": 0.1}
ITEMS = {"tea": "hot", "coffee": "hot", "cocoa": "hot", "lemonade": "cold", "cola": "cold", "water": "cold"}
GUESTS = [f"guest-{number}" for number in range(40)]
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
IMPRESSIONS = 4_000
STEP = 2 * 86_400_000 // IMPRESSIONS


def events() -> list[dict[str, object]]:
    rng = random.Random(7)  # noqa: S311
    made: list[dict[str, object]] = [
        {"type": "item", "time": START, "item": item, "features": {"temperature": kind}} for item, kind in ITEMS.items()
    ]
    for number in range(IMPRESSIONS):
        guest, time = rng.choice(GUESTS), START + number * STEP
        likes_hot = GUESTS.index(guest) % 2 == 0
        shown = rng.sample(list(ITEMS), 4)
        made.append({"type": "impression", "id": f"i{number}", "time": time, "user": guest, "items": shown})
        rates = [(0.5 if (ITEMS[item] == "hot") == likes_hot else 0.1) * FAME[item] for item in shown]
        clicked = [item for item, rate in zip(shown, rates, strict=True) if rng.random() < rate]
        seen = {"type": "interaction", "time": time + 5_000, "impression": f"i{number}"}
        made.extend(seen | {"item": item} for item in clicked)
    return made


if __name__ == "__main__":
    target = Path(__file__).with_name("events.jsonl")
    target.write_text("".join(json.dumps(event) + "\n" for event in events()))
