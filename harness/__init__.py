"""The harness: a batch file becomes pytest items, each of which updates, verifies and tests one board."""
