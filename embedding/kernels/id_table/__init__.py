"""The compiled loops of the id table. For its layout see `lines`."""
