"""Which devices may start now, and whether the rollout may go on: pure; no pytest, no clock, no I/O."""
