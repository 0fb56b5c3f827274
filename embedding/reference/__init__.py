"""The reference store: what every other store must equal, written to be read, not to be fast."""
