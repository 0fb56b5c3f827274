"""The configuration file: its sections, how it is read, and what its errors say. Imports no model and no engine."""
