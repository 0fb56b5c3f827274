"""Shared by the benchmarks: interleaved timing, facts about the machine, results with targets.

A benchmark is a module of this package with a function `run(quick: bool) -> Result`. Both sides of a comparison are
measured in turn, round by round, so that other load on the machine slows both; report ratios rather than times.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and what it should reach."""

    what: str
    value: float
    target: float
    better: Literal["higher", "lower"] = "higher"

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's outcome; `raw` holds every round's measurement and what was measured (JSON values)."""

    name: str
    targets: list[Target]
    raw: dict[str, Any] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the command line, by name, that another size was measured with than the benchmark's own."""

    def line(self) -> str:
        """One JSON object in one line, the last line on stdout."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "targets": [asdict(target) | {"met": target.met} for target in self.targets],
            "raw": self.raw,
        }

    def save(self, folder: Path) -> Path:
        """Write the result with command, machine, commit and date to `folder/NAME.PROCESSOR.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        given = "".join(f"--{name} {value} " for name, value in self.options.items())
        facts = {
            "command": f"python -m benchmarks {self.name} {given}--save",
            "machine": machine(),
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        path = folder / f"{self.name}.{processor()}.json"
        path.write_text(json.dumps(self.to_dict() | facts, indent=1) + "\n", encoding="utf-8")
        return path


def saved(folder: Path, name: str = "*") -> list[dict[str, Any]]:
    """What `Result.save` wrote of a benchmark (of all) on every processor, the newest last."""
    found = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"{name}.*.json"))]
    return sorted(found, key=lambda result: str(result["date"]))


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of every contender in every round, after one warm-up round that is discarded (caches, compilation).

    `clock` is this process's CPU time; give `time.perf_counter` where waiting is part of what is measured.

    >>> seconds = interleave({"a": lambda: None, "b": lambda: sum(range(1000))}, rounds=3)
    >>> {name: len(times) for name, times in seconds.items()}
    {'a': 3, 'b': 3}
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        for name, work in contenders.items():
            start = clock()
            work()
            if round_number:
                seconds[name].append(clock() - start)
    return seconds


def median(values: list[float]) -> float:
    return float(statistics.median(values))


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times faster `fast` is: the median over the rounds, each round against its own neighbour."""
    return median([a / b for a, b in zip(slow, fast, strict=True)])


def machine() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cpu": _cpu(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _cpu() -> str:
    return _cpuinfo().get("model name", platform.machine())


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def processor() -> str:
    """The processor in one word, for names of files: maker, then family and model where it has them.

    >>> processor() == processor().lower(), " " in processor()
    (True, False)
    """
    facts = _cpuinfo()
    maker = re.sub(r"\(.*?\)|processor|cpu|@.*", " ", _cpu().lower())
    words = [*maker.split(), facts.get("cpu family", ""), facts.get("model", "")]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words)).strip("-")


def commit() -> str:
    """The checked-out commit, with `+` when files differ from it; `unknown` outside a checkout."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# Not getrusage: its maximum is handed down from the process that started this one.
_PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print(int(line.split()[1]) * 1024)
"""


def peak_memory(code: str, *arguments: str) -> int:
    """Peak resident bytes of a fresh Python that runs `code` (`sys.argv[1:]` are `arguments`); Linux only."""
    command = [sys.executable, "-c", code + _PEAK, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])
