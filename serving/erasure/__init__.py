"""Erasing users: every place that may know something of one, how much it knows, and its removal."""
