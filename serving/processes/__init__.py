"""Several server processes on one port: who starts them, and what one of them knows of the others."""
