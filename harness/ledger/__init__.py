"""The history of runs: what became of which device, when, and how long it took. One writer a run, the controller."""

from harness.ledger.ledger import HistoryEntry, Ledger, LedgerError, RunSummary

__all__ = ["HistoryEntry", "Ledger", "LedgerError", "RunSummary"]
