"""The result of a replay for people: tables, plots and pages."""
