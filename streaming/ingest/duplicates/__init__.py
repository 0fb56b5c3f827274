"""Recognising events that the log already has."""
