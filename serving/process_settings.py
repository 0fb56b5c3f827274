"""Everything that configures a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.experiments.assignment import POPULARITY, Arm, Experiment
from serving.experiments.traffic import Holdout
from serving.replication.keys import PROJECT
from serving.settings import Duration, ServingSettings
from streaming.encode.feature_spec import FeatureSpec
from streaming.ingest.codec import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServingSettings):
    """The section `[serving]`, and what a server is told of the others."""

    redis_url: str = ""
    """Empty: an embedded Redis in `redis_folder`."""
    redis_folder: Path = Path("run/redis")
    project: str = PROJECT
    """Whose keys in Redis these are."""
    experiments: tuple[Experiment, ...] = (Experiment("default", (Arm("online"),)),)
    holdout: Holdout = field(default_factory=Holdout)
    actions: frozenset[str] = frozenset({"click"})
    """Actions that count as a click in experiments."""
    learned: frozenset[str] = frozenset({"click"})
    """Actions that decide a label of some task; an answer names others."""
    rules: Rules = field(default_factory=Rules)
    spec: FeatureSpec | None = None
    """The fields of the model, which say what embedding rows are users'; without it none are."""
    item_sets: str = ""
    """The feature of items that names the sets that they are in; empty: there are none."""
    mined_sets: bool = False
    """Whether sets are what is clicked together, instead of what a feature names."""
    dead_letters: Path = Path("run/dead_letters.jsonl")
    """Refused records of the log."""
    seed: int | None = None
    deduplication_window: int = 1_000_000
    """Events at the end of the log among which duplicates are looked for."""
    entity_ttl: Duration = 60_000
    """How long the latest features of a user or item are used without a notice of change."""
    shadow_patience: Duration = 250
    """How long an answer may wait to be scored in the shadow: a click on it may be learned afterwards."""

    @property
    def models(self) -> list[str]:
        """The published models that the arms rank with."""
        return sorted({arm.model for experiment in self.experiments for arm in experiment.arms} - {POPULARITY})

    def unanswered(self, seconds: float) -> str:
        """What to say when Redis has not answered for so long. Its URL has no password in it."""
        where = self.redis_url or f"folder {self.redis_folder}"
        return f"Redis at {where} has not answered for {seconds:.0f} s: see that it runs, and that [redis] names it"
