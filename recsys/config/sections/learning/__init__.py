"""Sections about what is learned, and how."""
