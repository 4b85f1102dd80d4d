"""Memory for two firmwares, one file each in the board's folder, and a record that outlives a power cut.

What the record says, and which slot is started, is the affair of the family's boot loader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from drivers.virtual import flash, timing
from drivers.virtual.faults import Faults
from drivers.virtual.flash import SECTOR, NorFlash
from drivers.virtual.folder import BoardFolder
from drivers.virtual.timing import Pace

SLOTS = (0, 1)
_RECORD = "boot.json"


class Slots:
    """Two slots of one size: `slot0.bin`, which a new board runs from, and `slot1.bin`, which is blank then."""

    def __init__(self, folder: BoardFolder, size: int, generic: Callable[[], bytes], pace: Pace, *, keep: bool) -> None:
        """Raises BenchError where the files are of another size, or the factory image does not fit."""
        self.size = size
        self._pace = pace
        self._path = folder.path
        first = folder.flash_file(size, generic, "slot0.bin")
        second = folder.path / "slot1.bin"
        if not keep or not second.exists() or second.stat().st_size != size:
            flash.create(second, size, b"")
            (folder.path / _RECORD).unlink(missing_ok=True)
        self._cells = (NorFlash(first), NorFlash(second))

    @property
    def cells(self) -> tuple[NorFlash, NorFlash]:
        """The memory itself, for a boot loader that works on both slots at once."""
        return self._cells

    def close(self) -> None:
        """Release the files; their contents stay."""
        for cells in self._cells:
            cells.close()

    def read(self, slot: int, at: int = 0, size: int | None = None) -> bytes:
        """`size` bytes of a slot, all of them up to its end where left out."""
        return self._cells[slot].read(at, min(self.size - at, self.size if size is None else size))

    def put(self, slot: int, contents: bytes) -> None:
        """Make a slot hold this and nothing else, at once: what a boot loader does that starts from one slot alone."""
        self._cells[slot].erase_all()
        self._cells[slot].program(0, contents[: self.size])

    async def erase(self, slot: int, at: int, size: int, faults: Faults) -> None:
        """Erase the sectors that the bytes touch."""
        await timing.delay(faults.erase_delay_s())
        await self._pace.charge(timing.erase_s(-(-size // SECTOR) * SECTOR))
        self._cells[slot].erase(at, size)

    async def program(self, slot: int, at: int, data: bytes, faults: Faults) -> None:
        """Program erased bytes. Raises PowerLost after what was programmed before the supply dropped."""
        programmed, lost = faults.programmable(len(data))
        await self._pace.charge(timing.program_s(programmed))
        self._cells[slot].program(at, data[:programmed])
        if lost is not None:
            raise lost

    def record(self) -> Mapping[str, JsonValue]:
        """What was recorded last; empty on a new board."""
        path = self._path / _RECORD
        if not path.exists():
            return {}
        found = json.loads(path.read_text())
        assert isinstance(found, dict), f"{path} is not the bench's"
        return found

    def set_record(self, record: Mapping[str, JsonValue]) -> None:
        """Record what must outlive a power cut: the old record or the new one is there at any moment."""
        contents = json.dumps(record).encode()
        flash.create(self._path / _RECORD, len(contents), contents)
