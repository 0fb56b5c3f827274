"""Checkpoints that move: to other processes, other sizes, and from collections whose ids are rows."""
