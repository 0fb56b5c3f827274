"""Tables of fits over seeds, such as those of papers."""
