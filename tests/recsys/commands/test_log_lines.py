"""What is logged, at which level."""

from __future__ import annotations

import logging

from recsys.commands.output.log_lines import log_to_stderr
from serving.replication.follow.model_loader import ModelLoader


def test_what_a_server_scores_in_is_shown_at_the_level_of_warnings() -> None:
    told = logging.getLogger(ModelLoader.__module__)
    before = told.level
    try:
        log_to_stderr(logging.WARNING)
        assert told.isEnabledFor(logging.INFO)
        log_to_stderr(logging.DEBUG)
        assert told.isEnabledFor(logging.DEBUG)
    finally:
        told.setLevel(before)
