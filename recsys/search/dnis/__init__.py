"""Differentiable Neural Input Search: which embedding values are worth keeping."""
