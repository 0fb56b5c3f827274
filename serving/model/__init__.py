"""One exported model: its artefact, its scorer, and the path from a request to scores."""
