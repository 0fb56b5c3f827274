"""Runs of a model: what one training from nothing publishes, and which of them servers follow."""
