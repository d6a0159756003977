"""The client: what it decides without I/O, and its drivers."""
