"""Replay: evaluate a model on a log before it goes live."""
