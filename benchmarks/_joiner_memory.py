"""Resident memory of a process that joins a long stream: `python -m benchmarks._joiner_memory EVENTS`.

Always as many impressions of two items are open as are allowed: more are shown within the wait, so the oldest close
early.
"""

from __future__ import annotations

import json
import subprocess
import sys

import psutil

from benchmarks._globo_shaped import Visits
from benchmarks.harness import ROOT
from streaming.feed import STEP
from streaming.join.joiner import Joiner, LabelRule

OPEN = 120_000
"""The bound: `max_pending`."""
WAIT = 600_000
SAMPLES = 10
"""Taken at equal distances; the first after a tenth of the stream."""


def mebibytes(events: int) -> list[float]:
    """Above those of the process when it begins, measured in a process of its own; `SAMPLES` of them."""
    command = [sys.executable, "-m", "benchmarks._joiner_memory", str(events)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def _measured(events: int) -> list[float]:
    joiner, visits, at = Joiner(LabelRule(), wait=WAIT, lateness=1000, max_pending=OPEN), Visits(seed=0), 0
    samples: list[float] = []
    within_wait = 1.5 * OPEN
    process = psutil.Process()
    before = process.memory_info().rss
    for number in range(1, events // STEP + 1):
        at += round(STEP / 2 / within_wait * WAIT)
        joiner.join(visits.take(STEP // 2, at))
        if number * SAMPLES // (events // STEP) > len(samples):
            samples.append((process.memory_info().rss - before) / 2**20)
    if joiner.pending < OPEN:
        raise RuntimeError(f"{joiner.pending} impressions were open, not {OPEN}: the stream is too short")
    return samples


if __name__ == "__main__":
    print(json.dumps(_measured(int(sys.argv[1]))))
