"""What `train` and `replay` say about the labels in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from recsys import wiring
from recsys.config.schema import Config
from recsys.feature_survey import feature_doubts
from recsys.log_survey import action_doubts, one_label, unmet


def log_warnings(config: Config) -> Iterator[str]:
    """Positive actions that the log does not have, actions in it that decide no label, and features it lacks."""
    learned = {action for task in wiring.tasks(config) for action in task.rule.actions}
    with closing(wiring.event_log(config)) as log:
        yield from action_doubts(log, config.training.positive, learned)
        yield from feature_doubts(log, wiring.spec(config).fields)


def label_warnings(config: Config, labels: float, positives: float) -> Iterator[str]:
    """What looks wrong where `positives` of the `labels` that were learned are positive."""
    if not 0 < positives < labels:
        with closing(wiring.event_log(config)) as log:
            yield from filter(None, [one_label(labels, positives), unmet(log, config.training.wait)])
