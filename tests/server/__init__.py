"""The embedded server: what a real one does not have, and what tests/integration does not show."""
