"""The batch and the site file as they were read: what checks and payloads work on."""

from __future__ import annotations

from dataclasses import dataclass

from harness.batch import Batch
from harness.config import Site
from harness.merge import Merger
from harness.tree import Source


@dataclass(frozen=True)
class Opened:
    """Both files as read. `site_source` is None where there is no site file."""

    merger: Merger
    source: Source
    site_source: Source | None

    @property
    def batch(self) -> Batch:
        return self.merger.batch

    @property
    def site(self) -> Site:
        return self.merger.site
