"""What one `ingest` did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.ingest_doubts import doubts

if TYPE_CHECKING:
    from recsys.config.schema import Config
    from streaming.ingest.pipeline import Ingest

_REASONS = 20


@dataclass(frozen=True)
class Ingested:
    """Every record that was read is accepted, a duplicate, or dead."""

    accepted: int
    duplicate: int
    dead: int
    reasons: dict[str, int]
    """The commonest reasons for dead records, with their number."""
    span: tuple[datetime, datetime] | None
    """Oldest and newest time of the events."""
    late: int
    """Events so much older than newer ones that the joiner cannot use them."""
    dead_letters: Path
    """The file of refused records."""
    warnings: tuple[str, ...] = ()
    """What looks wrong in the events, with the remedy."""

    @staticmethod
    def of(ingest: Ingest, config: Config, latest: int, unread: Sequence[str] = ()) -> Ingested:
        """What `ingest`, which is new, has done as configured; `latest` is the last time (ms) that is plausible, and
        `unread` what was said of the frames."""
        counts = ingest.counts
        span = None
        if ingest.span is not None:
            oldest, newest = (datetime.fromtimestamp(time / 1000, UTC) for time in ingest.span)
            span = oldest, newest
        reasons = dict(ingest.reasons.most_common(_REASONS))
        late, found = ingest.late_events.count, (*dict.fromkeys(unread), *doubts(ingest, config, latest))
        return Ingested(
            counts.accepted, counts.duplicate, counts.dead, reasons, span, late, config.log.dead_letters, found
        )

    @property
    def read(self) -> int:
        return self.accepted + self.duplicate + self.dead

    def __repr__(self) -> str:
        counts = f"{self.accepted:,} accepted + {self.duplicate:,} duplicate + {self.dead:,} dead-lettered"
        lines = [f"{self.read:,} read = {counts}"]
        lines += [f"  {count:,} x {reason}" for reason, count in self.reasons.items()]
        if self.span is not None:
            lines.append(f"event times {self.span[0]:%Y-%m-%d %H:%M:%S} to {self.span[1]:%Y-%m-%d %H:%M:%S} UTC")
        return "\n".join([*lines, *self.warnings])
