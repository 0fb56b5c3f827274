"""The HTTP interface: routes, requests and answers, their OpenAPI document, and metrics."""
