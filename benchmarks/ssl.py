"""What self-supervision of item fields adds to a step of the learner: 39 fields, batch 1024, AutoInt.

Without and with it take turns within one run, each with its own learner and store.
"""

from __future__ import annotations

from typing import Any

from benchmarks import _learner_steps
from benchmarks.harness import Result, Target, ratio
from benchmarks.loop import BATCH

METHODS = ("spread_out", "rfm", "cfm")


def run(quick: bool) -> Result:
    options: dict[str, dict[str, Any]] = {"none": {}}
    options |= {method: {"ssl": {"method": method}} for method in METHODS}
    seconds = _learner_steps.seconds(options, rounds=2 if quick else 40)
    added = {method: ratio(seconds[method], seconds["none"]) - 1 for method in METHODS}
    targets = [Target(f"{method}: CPU time added to a step", value, 0.15, "lower") for method, value in added.items()]
    return Result("ssl", targets, {"seconds_per_turn": seconds, "steps_per_turn": _learner_steps.TURN, "batch": BATCH})
