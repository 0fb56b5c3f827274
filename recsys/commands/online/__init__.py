"""Commands of the live loop."""
