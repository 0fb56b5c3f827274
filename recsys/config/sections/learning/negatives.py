"""`[training.negatives]`: learning from a share of the rows without a positive."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.config.sections.section import Section, error_at

Share = Annotated[float, Field(gt=0, le=1)]


class NegativesSection(Section):
    """Which rows without a positive are learned from; scores stay those of all traffic."""

    rate: Share = 1.0
    """Share of them that is learned from, for each task; 1 for all."""
    method: Literal["uniform", "score"] = "uniform"
    """All alike, or in proportion to the model's score."""
    min_rate: Share = 0.01
    """By score: of rows with the lowest scores."""

    @property
    def on(self) -> bool:
        return self.rate < 1

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.on and self.method != "uniform":
            raise error_at(("method",), "has no effect with rate = 1.0: all is learned. Set rate, or leave it out")
        if self.method == "uniform" and self.min_rate != type(self).model_fields["min_rate"].default:
            raise error_at(("min_rate",), 'has no effect with method = "uniform". Write score, or leave it out')
        if self.method == "score" and self.min_rate > self.rate:
            raise error_at(("min_rate",), f"is {self.min_rate}, above the rate of {self.rate}: set it, at most as high")
        return self
