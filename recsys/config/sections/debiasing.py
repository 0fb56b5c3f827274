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

    @property
    def on(self) -> bool:
        return self.method != "none" or self.positions

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.on and self.min_propensity != type(self).model_fields["min_propensity"].default:
            raise error_at(
                ("min_propensity",), 'has no effect with method = "none". Write ips or snips, or leave it out'
            )
        return self
