"""Training in epochs over a part of the log, and figures of what was learned on another."""
