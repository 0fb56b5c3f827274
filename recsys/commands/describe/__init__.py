"""Commands that describe a log and its configuration."""
