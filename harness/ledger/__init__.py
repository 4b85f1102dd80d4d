"""The history of runs: what became of which device, when, and how long it took; and the devices that are skipped.

One writer a run, the controller. In a SQLite file, or in a PostgreSQL database that several machines share.
"""

from harness.ledger.errors import LedgerError
from harness.ledger.history import HistoryEntry, RunSummary
from harness.ledger.ledger import Ledger
from harness.ledger.quarantine import QuarantineEntry

__all__ = ["HistoryEntry", "Ledger", "LedgerError", "QuarantineEntry", "RunSummary"]
