"""`[training.debiasing]`: learning as if impressions had been drawn at random."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.config.sections.section import Section, error_at


class DebiasingSection(Section):
    """Weights and labels corrected by the propensities and positions in the log."""

    method: Literal["none", "ips", "snips"] = "none"
    """Rows weigh 1 / propensity; with snips divided by their running mean."""
    min_propensity: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Smaller logged propensities count as this."""
    positions: bool = False
    """Clicks count more at positions that are examined less, estimated from what exploration has shown there."""
    balance: Literal["none", "random", "worst", "adaptive"] = "none"
    """Rows weigh, beside that, what balances kernel functions of their fields between what was shown and all pairs;
    which functions: any, those furthest from balance, those that explain the label."""
    kernel: Literal["gaussian", "exponential"] = "gaussian"
    """The kernel that is balanced."""
    functions: Annotated[int, Field(ge=1, le=1024)] = 16
    """How many functions."""
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """The most that a function may change log weights by, per deviation; 0 for the same weights as without it."""
    tolerance: Annotated[float, Field(ge=0)] = 0.01
    """Gaps within this, in deviations, are balanced enough."""

    @property
    def on(self) -> bool:
        return self.method != "none" or self.positions or self.balance != "none"

    @model_validator(mode="after")
    def _effective(self) -> Self:
        changed = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        for name in changed:
            if self.balance == "none" and name in ("kernel", "functions", "gamma", "tolerance"):
                raise error_at((name,), 'has no effect with balance = "none". Write random, worst or adaptive')
        if self.method == "none" and not self.positions and "min_propensity" in changed:
            raise error_at(
                ("min_propensity",), 'has no effect with method = "none". Write ips or snips, or leave it out'
            )
        return self
