"""The console at `/console/`: pages for people, rendered here, which need nothing from outside."""
