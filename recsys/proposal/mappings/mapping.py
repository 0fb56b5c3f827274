"""What is proposed for one kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys.proposal.files.sample import Sample
from recsys.proposal.roles.feature_columns import Feature
from recsys.proposal.roles.roles import Guess, Roles


@dataclass(frozen=True)
class Noted:
    """A value of the configuration and why it is proposed."""

    value: Any
    note: str = ""


@dataclass(frozen=True)
class Described:
    """One kind of file: a sample of it, what its columns are, and the pattern of the paths that are alike."""

    sample: Sample
    roles: Roles
    pattern: str

    @property
    def path(self) -> Path:
        return self.sample.path


@dataclass
class ProposedMapping:
    """A `[[log.mapping]]` with notes, the features that it gives, and which actions make labels positive."""

    of: Described
    kind: str
    columns: dict[str, Noted] = field(default_factory=dict)
    settings: dict[str, Noted] = field(default_factory=dict)
    features: list[Feature] = field(default_factory=list)
    positive: Noted | None = None
    min_value: Noted | None = None
    tasks: dict[str, Noted] = field(default_factory=dict)
    """Actions of further labels, by the name of their task."""

    def raw(self) -> dict[str, Any]:
        """As `recsys.config.sections.log.Mapping` takes it."""
        columns = {name: noted.value for name, noted in self.columns.items()}
        settings = {name: noted.value for name, noted in self.settings.items()}
        return {"files": self.of.pattern, "kind": self.kind, **settings, "columns": columns}

    def add_column(self, name: str, guesses: Sequence[Guess]) -> None:
        """Map `name` to the guessed columns, with their reasons as the note."""
        names = [guess.name for guess in guesses]
        self.columns[name] = Noted(names[0] if len(names) == 1 else names, "; ".join(guess.reason for guess in guesses))
