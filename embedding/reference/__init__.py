"""The reference store: every other store must equal it. Written for clarity, not speed."""
