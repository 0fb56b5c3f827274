"""Small logs with known truths, and a configuration to replay them."""

import random
from collections.abc import Sequence

from recsys.config.schema import Config
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.log.event_log import EventLog
from streaming.log.memory_log import MemoryLog

HOUR = 3_600_000
START = 1_500_000_000_000 // HOUR * HOUR
WAIT = 60_000


SOURCES = {"user": "user", "item": "item", "hour": "time.hour"}


def config(**training: object) -> Config:
    """A small model that learns fast."""
    defaults = {"batch_size": 16, "sparse_lr": 0.1, "wait": "1m", "lateness": "0s", "init_scale": 0.05}
    defaults["averaging"] = 0.0
    fields = [{"name": name, "source": source} for name, source in SOURCES.items()]
    model = {"layers": 1, "heads": 1, "units": 8, "mlp": [8]}
    features = {"dim": 4, "fields": fields}
    return Config.model_validate({"model": model, "features": features, "training": defaults | training})


def moving_taste(hours: int = 8, per_hour: int = 120, seed: int = 0) -> list[Event]:
    """Every three hours another third of nine items is what people click; each impression shows one of these."""
    rng = random.Random(seed)
    events: list[Event] = []
    for number in range(hours * per_hour):
        time = START + number * HOUR // per_hour
        hot = 3 * (number // (3 * per_hour) % 3)
        liked, other = hot + rng.randrange(3), rng.choice([item for item in range(9) if not hot <= item < hot + 3])
        items = [f"i{liked}", f"i{other}"]
        rng.shuffle(items)
        user = f"u{rng.randrange(20 + number // 40)}"
        events.append(Impression(id=f"r{number}", time=time, user=user, items=items))
        chosen = f"i{liked}" if rng.random() < 0.9 else f"i{other}"
        events.append(Interaction(time=time + 1000, impression=f"r{number}", item=chosen, id=f"c{number}"))
    return sorted(events, key=lambda event: event.time)


def log_of(events: Sequence[Event]) -> EventLog:
    log = MemoryLog()
    log.append(encode_events(list(events)))
    return log
