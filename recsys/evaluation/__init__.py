"""Metrics, and what is measured with them: replays of a log and memory studies."""
