"""A board's folder, `<state>/<board_id>`: locked while a bench has it, with the file that is its flash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from drivers.virtual import flash
from drivers.virtual.errors import BenchError
from drivers.virtual.spec import BoardSpec


class BoardFolder:
    """The folder of one board; `acquire` it first, `release` it last."""

    def __init__(self, spec: BoardSpec, state: Path) -> None:
        self._spec = spec
        self.path = state / spec.board_id
        self._lock: FileLock | None = None

    def acquire(self, wait_s: float) -> None:
        """Raises BenchError where another bench keeps it for longer than `wait_s` seconds."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / "lock")
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout:
            raise BenchError(f"{self.path} is in use by another bench; end that one, or use another folder") from None

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def flash_file(self, size: int, generic: Callable[[], bytes], name: str = "flash.bin") -> Path:
        """The file of a memory of `size` bytes; a new one holds the spec's `factory` image, else the generic firmware.

        Raises BenchError where a file is there that has another size, or where the image does not fit.
        """
        path = self.path / name
        if not path.exists() or not self._spec.keep:
            flash.create(path, size, self._factory(size, generic))
        elif path.stat().st_size != size:
            raise BenchError(
                f"{path} holds {path.stat().st_size} bytes, but {self._spec.board_id}'s flash has {size}: "
                "delete it to begin anew, or set flash_size"
            )
        return path

    def _factory(self, size: int, generic: Callable[[], bytes]) -> bytes:
        contents = self._contents(generic)
        if len(contents) > size:
            name = self._spec.factory or "the generic firmware"
            raise BenchError(f"{name} has {len(contents)} bytes, more than {self._spec.board_id}'s flash ({size})")
        return contents

    def _contents(self, generic: Callable[[], bytes]) -> bytes:
        if self._spec.factory is None:
            return generic()
        try:
            return self._spec.factory.read_bytes()
        except OSError as error:
            raise BenchError(f"{self._spec.board_id}: factory image: {error}") from error
