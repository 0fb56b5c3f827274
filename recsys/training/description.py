"""What the weights of a checkpoint mean: the fields and options that they were learned with. Does not import torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from safetensors import SafetensorError, safe_open

from recsys.errors import InvalidValueError, StateError
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from recsys.config.sections.learning.models import ModelOptions
    from recsys.models.base import RankingModel


@dataclass(frozen=True, slots=True)
class Description:
    """Fields, and the options and tasks that decide what the weights of the model mean (dropout does not)."""

    spec: FeatureSpec
    options: dict[str, Any]

    @classmethod
    def of(
        cls, spec: FeatureSpec, model: RankingModel, tasks: Sequence[str], retrieval: Mapping[str, Any] | None = None
    ) -> Self:
        return cls.configured(spec, model.config, model.dim, tasks, retrieval)

    @classmethod
    def configured(
        cls,
        spec: FeatureSpec,
        section: ModelOptions,
        dim: int,
        tasks: Sequence[str],
        retrieval: Mapping[str, Any] | None = None,
    ) -> Self:
        """The description of a model that is not built yet; `retrieval` has the options of a two-tower model."""
        options = {name: value for name, value in section if not name.endswith("dropout") and value != "none"}
        options |= {"dim": dim, "tasks": tasks}  # without what is "none", as if the model had no such option
        if retrieval is not None:
            options["retrieval"] = retrieval
        return cls(spec, json.loads(json.dumps(options)))

    def to_metadata(self) -> dict[str, str]:
        """To the metadata of a safetensors file."""
        return {"model": json.dumps(self.options, sort_keys=True), "fields": self.spec.to_json().decode()}

    @classmethod
    def read(cls, file: Path) -> Self:
        """From the metadata of a safetensors file. Raises StateError if there is none."""
        try:
            with safe_open(file, framework="np") as opened:
                written = opened.metadata() or {}
            return cls(FeatureSpec.from_json(written["fields"]), json.loads(written["model"]))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StateError(f"{file} does not say which fields it was written for ({error})") from error

    def check(self, written: Description, checkpoints: Path) -> None:
        """Raise InvalidValueError if `written`, read from a checkpoint in the folder `checkpoints`, differs."""
        self.check_model(written)
        if fields := "; ".join(changed_fields(written.spec, self.spec)):
            raise InvalidValueError(
                f"it is of other fields: {fields}. To keep what was learned, name an empty folder in [training] "
                f"checkpoints and run: recsys migrate --from {checkpoints}"
            )

    def check_model(self, written: Description) -> None:
        """As `check`, but ignores the fields: the rest is what `recsys migrate` cannot change."""
        if options := "; ".join(_other_options(written.options, self.options)):
            raise InvalidValueError(f"it is of another model: {options}")


def changed_fields(written: FeatureSpec, present: FeatureSpec) -> Iterator[str]:
    """How the fields of a checkpoint and of the configuration differ, field by field; nothing if they are the same."""
    before, now = ({field.name: field for field in spec.fields} for spec in (written, present))
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in now:
            yield f"field {name!r} is only in the checkpoint"
        elif name not in before:
            yield f"field {name!r} is not in the checkpoint"
        else:
            old, new = asdict(before[name]), asdict(now[name])
            yield from (
                f"field {name!r} has {what} {old[what]!r} in the checkpoint, {new[what]!r} in the configuration"
                for what in old
                if old[what] != new[what]
            )
    if before == now and list(before) != list(now):
        yield f"their order is {', '.join(before)} in the checkpoint, {', '.join(now)} in the configuration"


def _other_options(written: dict[str, Any], present: dict[str, Any]) -> Iterator[str]:
    """How the options differ; of models of other names only that, because each has options of its own."""
    names = sorted(written.keys() | present.keys())
    if written.get("name") != present.get("name"):
        names = ["name"]
    for name in names:
        old, new = (found.get(name) for found in (written, present))
        if isinstance(old, dict) and isinstance(new, dict):
            yield from (f"{name}.{difference}" for difference in _other_options(old, new))
        elif old != new:
            yield f"{name} is {_value(old)} in the checkpoint, {_value(new)} in the configuration"


def _value(option: Any) -> Any:
    return "not set" if option is None else "set" if isinstance(option, dict) else option
