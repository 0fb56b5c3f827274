"""Requests and answers: their types, how bodies are read, what is refused, and the OpenAPI document."""
