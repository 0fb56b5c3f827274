"""What `train` and `replay` say about the labels in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from recsys import wiring
from recsys.config.schema import Config
from recsys.log_survey import one_label, unmet, unused_actions


def action_warnings(config: Config) -> Iterator[str]:
    """Positive actions that the log does not have."""
    with closing(wiring.event_log(config)) as log:
        yield from filter(None, [unused_actions(log, config.training.positive)])


def label_warnings(config: Config, labels: float, positives: float) -> Iterator[str]:
    """What looks wrong where `positives` of the `labels` that were learned are positive."""
    if not 0 < positives < labels:
        with closing(wiring.event_log(config)) as log:
            yield from filter(None, [one_label(labels, positives), unmet(log, config.training.wait)])
