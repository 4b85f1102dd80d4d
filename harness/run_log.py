"""The controller's hand on the run's own journal. While it is held, the run is going on: nobody else can resume it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from harness.journal import Journal, Kind
from harness.runs import RunFolder


class RunLog:
    """Open from the run's start to its end. Raises `JournalBusy` where another controller holds it, `OSError`."""

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self._journal = Journal(folder.run_journal, clock)
        self.fault = ""
        """What kept the last events from being written, in words."""
        try:
            self._journal.write(Kind.RUN_STARTED, pid=os.getpid())
        except BaseException:
            self._journal.close()
            raise

    def tell(self, kind: Kind, **data: Any) -> bool:
        """Whether it is on disk. A full disk must not end a run that is writing boards, so nothing is raised."""
        try:
            self._journal.write(kind, **data)
        except OSError as error:
            self.fault = f"the run's journal could not be written: {error}"
            return False
        return True

    def close(self) -> None:
        self._journal.close()
