"""Runs of a model: what one training from scratch publishes, and which run servers follow."""
