"""What the drivers of boards that update and restart themselves share: who the board is, and what runs on it.

Nothing is certain here but what the board says: a status page (status.py) where the options name one. Without it the
driver knows of versions nothing, and says so.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from hashlib import md5, sha256

from drivers.base import (
    BadImage,
    BootFailed,
    Capabilities,
    ConnectionLost,
    DeviceError,
    Identity,
    Link,
    Log,
    NetworkFailed,
    PhaseTimeout,
    Progress,
    Region,
    Segment,
)
from drivers.net import Address
from drivers.ota import status
from drivers.ota.errors import LinkLost, NoUpdater, UnknownAnswer, translate
from drivers.ota.options import StatusOptions, UrlPath
from drivers.ota.status import Status
from drivers.ota.watch import CHANGED_LINE, LOST_LINE, Watch, boot_failure
from drivers.ota.web import Reply, Site, Web
from drivers.translation import translated

START_S = 60.0  # an ESP8266 first copies the new firmware over the old one (10 to 20 s), then it joins its WLAN
UPDATED_BY_NETWORK = Capabilities(
    can_read_back=False,
    can_hash=False,
    can_reset=False,
    has_slots=True,
    can_revert=False,
    can_verify=True,
    has_console=False,
)
"""What a board can that says itself whether its new image is whole."""
USUAL_SLOT = 0x140000  # bytes for one firmware in 4 MB of flash (arduino-esp32's default.csv)
PAGE_TIMEOUT_S = 5.0  # for a page while the board may be restarting: a sketch that is busy answers when it comes to it
_POLL_S = 0.25


class Written(Enum):
    """What has become of the last image that was sent in this session."""

    NOTHING = auto()  # none was sent: what runs is what the board was found with, or another session's
    REFUSED = auto()  # the board can not have taken it: what ran before runs on
    SENT = auto()  # all of it has left, and the board has not said what it thinks of it
    TAKEN = auto()


class UpdateSession(ABC):
    """See `drivers.base.Session` for the contract. A protocol adds who answers, and how an image is sent."""

    def __init__(self, link: Link, options: StatusOptions, log: Log) -> None:
        self._link = link
        self._options = options
        self._log = log
        self._address = Address.of(link.port)
        self._ip = ""
        self._webs: Sequence[Web] = ()  # where the status page may be
        self._web: Web | None = None  # where it is
        self._connected = False
        self._before: Status | None = None
        self._found: Status | None = None  # the page of an untouched board: that of the firmware to go back to
        self._written = Written.NOTHING
        self._may_have_taken = not link.untouched  # an image of which nobody knows that it is good
        self._checked: str | None = None  # the MD5 of what the board has taken and checked
        self._taken_at = 0.0 if link.untouched else time.monotonic()  # OK, or last byte; at the latest
        self._restarted = False  # since the image was sent
        self._is_started = False  # what runs now is what was to be started
        self._watch = Watch()
        self._slowest_page_s = 0.0

    @abstractmethod
    def _probe(self) -> None:
        """Prove that the updater is there, as far as that is harmless. Raises DeviceError or OSError."""

    @property
    @abstractmethod
    def _board_checks(self) -> bool:
        """Whether the board compares what it receives with a digest before it takes it."""

    @abstractmethod
    def _send(self, segment: Segment, progress: Progress) -> None:
        """Send the image and hear that it was taken. `_sent` is called when its last byte leaves."""

    @property
    def flash_baudrate(self) -> int:
        return self._link.flash_baudrate

    def connect(self) -> Identity:
        with self._translated(f"connect to {self._address}"):
            self._connected = self._is_started = False
            self._resolve()
            identity = self._reach()
            self._connected = True
            return identity

    def _reach(self) -> Identity:
        """A board that was sent an image may be restarting: it is given time."""
        patience_s = 0.0 if self._written is Written.NOTHING else self._link.connect_timeout_s
        deadline = time.monotonic() + patience_s
        while True:
            begun = time.monotonic()  # a board that goes down with a request leaves it open for all of that time
            try:
                self._probe()
                return self._identity(self._read_status())
            except (NetworkFailed, ConnectionLost, PhaseTimeout, OSError):
                if begun >= deadline:
                    raise
            time.sleep(_POLL_S)

    def _resolve(self) -> None:
        """Once: another answer later in the session would be another board."""
        if self._ip:
            return
        self._ip = self._address.lookup()
        if self._options.version_path is not None:
            ports = [self._options.version_port] if self._options.version_port else self._status_ports
            self._webs = [self._status_web(Address(self._address.host, port)) for port in ports]
            self._web = self._webs[0]
        if self._ip != self._address.host:
            self._log(f"{self._address.host} is {self._ip}")

    def _read_status(self) -> Status | None:
        """None where there is no page, or where it is gone and has never told one board from another."""
        if self._web is None:
            return None
        try:
            found = self._first_page() if self._before is None else self._page(self._link.read_timeout_s)
        except DeviceError as error:
            if self._before is None or self._before.mac:
                raise
            self._log(f"no status page any more ({error}); who answers is taken for the same board")
            return self._before
        if self._may_restart and _differ(found, self._before):
            self._restarted = True
        if not self._may_have_taken:
            self._found = self._found or found
        self._before = found
        return found

    def _first_page(self) -> Status:
        for web in self._webs[:-1]:
            self._web = web
            try:
                return self._page(self._link.read_timeout_s)
            except DeviceError as error:
                self._log(f"no status page there ({error})")
        self._web = self._webs[-1]
        return self._page(self._link.read_timeout_s)

    @property
    def _status_ports(self) -> Sequence[int]:
        """Where the status page usually is."""
        return (self._address.port,)

    def _status_web(self, address: Address) -> Web:
        return Web(Site(address, self._ip), self._link.connect_timeout_s, self._link.read_timeout_s)

    def _page(self, timeout_s: float) -> Status:
        web, path = self._web, self._options.version_path
        assert web is not None
        assert path is not None
        begun = time.monotonic()
        reply = self._get(web, path, timeout_s)
        self._slowest_page_s = max(self._slowest_page_s, time.monotonic() - begun)
        if reply.status != 200:
            raise NoUpdater(
                f"{web.site.url(path)} answers with HTTP {reply.status}",
                advice="Nothing was written. Correct the options `version_path` and `version_port`.",
            )
        return status.parse(reply.text, self._options.version_pattern)

    def _get(self, web: Web, path: str, timeout_s: float) -> Reply:
        return web.get(path, timeout_s)

    def _identity(self, found: Status | None) -> Identity:
        chip = (found.chip if found else None) or self._link.chip
        return Identity(chip=chip, revision="", serial=(found.mac if found else None) or "", flash_size=0)

    def digest(self, region: Region) -> str:
        raise NoUpdater(f"a board on the network does not hash its flash ({region.size} bytes asked for)")

    def read(self, region: Region, progress: Progress) -> bytes:  # noqa: ARG002
        raise NoUpdater(f"a board on the network can not be read back ({region.size} bytes asked for)")

    def holds(self, segment: Segment) -> bool | None:
        """After an update, as the board has checked what it took; once that was to start, and before an update, by the
        running image's MD5 on its page.
        """
        with self._translated("ask which image runs"):
            self._need_connection()
            digest = _md5(segment.data)
            if self._is_started:
                return self._runs(segment.data, digest)
            if self._checked is not None and self._checked == digest:
                return True
            if self._written is not Written.NOTHING or self._before is None or self._before.md5 is None:
                return None
            return self._before.md5 == digest

    def _runs(self, image: bytes, digest: str) -> bool | None:
        """None also where the page's MD5 may be another one than the file's, although it runs: packed, or signed."""
        page = self._page_now()
        if page is None or page.md5 is None:
            return None
        if page.md5 == digest:
            return True
        went_back = self._found is not None and page.md5 == self._found.md5
        return False if went_back and _is_image_alone(image) else None

    def installed_version(self, address: int) -> str | None:  # noqa: ARG002
        return self._before.version if self._before else None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        if len(segments) != 1:
            raise BadImage(f"an update over the network takes one image, not {len(segments)}")
        with self._translated(f"update {self._address}"):
            self._need_connection()
            self._checked = None
            self._is_started = False
            self._written = Written.REFUSED  # until its last byte has left
            try:
                self._send_and_decide(segments[0], progress)
            finally:
                self._may_have_taken |= self._may_restart
            self._checked = _md5(segments[0].data) if self._board_checks else None
            self._watch = Watch()

    def _send_and_decide(self, segment: Segment, progress: Progress) -> None:
        try:
            self._send(segment, progress)
            self._written = Written.TAKEN
            self._taken_at = time.monotonic()
        except (ConnectionLost, PhaseTimeout, OSError) as error:
            if self._written is not Written.SENT:
                raise
            self._decide(error)
            self._written = Written.TAKEN

    def _sent(self) -> None:
        self._written = Written.SENT
        self._taken_at = time.monotonic()
        self._restarted = False

    def _refused(self) -> None:
        self._written = Written.REFUSED

    def _decide(self, error: Exception) -> None:
        """All was sent, and no word came that is known: the board restarts, or has thrown it away."""
        if self._is_another_firmware_up():
            self._log("another firmware runs now: the update was taken")
            return
        if isinstance(error, UnknownAnswer):
            raise error
        raise LinkLost(
            "all of the image was sent, but the board closed the connection without a word about it",
            advice="It is tried again. Name the board's status page (`version_path`), which decides such cases.",
        ) from error

    def _is_another_firmware_up(self) -> bool:
        """As the status page says, where there is one."""
        if self._web is None or self._before is None:
            return False
        self._log("no answer to the upload; the status page decides")
        after = self._page_after_restart(self._link.connect_timeout_s)
        if after is not None and after.md5 is not None and after.md5 == self._before.md5:
            self._refused()  # the time for a restart is over, and what ran before runs; a version alone may be both's
        return _differ(after, self._before)

    def _page_after_restart(self, timeout_s: float) -> Status | None:
        """The page once the board has restarted, or can be taken not to; None where none comes."""
        deadline = time.monotonic() + timeout_s + self._options.restart_s
        watch = Watch()
        while time.monotonic() < deadline:
            found = self._look(watch)
            if found is not None and self._has_restarted(found, watch):
                return found
            time.sleep(_POLL_S)
        return None

    def _look(self, watch: Watch, timeout_s: float = PAGE_TIMEOUT_S) -> Status | None:
        try:
            found = self._page(timeout_s)
        except NoUpdater as error:  # it is up, and the page is not there, or not for us
            watch.missed += 1
            watch.why = error.message
            return None
        except DeviceError:
            watch.missed += 1
            watch.outage = True
            return None
        watch.missed = 0
        watch.seen_at = time.monotonic()
        return found

    def _has_restarted(self, found: Status, watch: Watch) -> bool:
        """Whether the page is that of a start after the update: the old firmware answers on until it is restarted."""
        if watch.outage or self._waited or _differ(found, self._before):
            self._restarted = True
        return self._restarted

    @property
    def _waited(self) -> bool:
        return time.monotonic() - self._taken_at > self._options.restart_s

    def reset(self) -> None:
        """Boards restart themselves after an update, and are left alone without one. The console begins anew.

        Without a status page, that the updater answers again is all that shows how a restart went: it is waited for.
        """
        self._watch = Watch()
        self._is_started = True
        if self._web is not None or not self._may_restart or not self._shows_life:
            return
        with self._translated("wait for the restart"):
            patience_s = self._options.restart_s + self._link.connect_timeout_s
            deadline = time.monotonic() + patience_s
            while not self._sign_of_life():
                if time.monotonic() >= deadline:
                    raise BootFailed(
                        f"the updater has not answered for {patience_s:g} s since the update",
                        advice="The new firmware does not start, or not on this network. Flash the board over USB.",
                    )
                time.sleep(_POLL_S)
            self._watch = Watch()

    @property
    def _shows_life(self) -> bool:
        """Whether `_sign_of_life` can tell after an update."""
        return True

    def confirm(self) -> None:  # noqa: B027
        """Nothing to confirm: these protocols know no probation; where a boot loader has one, the firmware ends it."""

    def revert(self, version: str | None) -> bool:
        """True where the board runs (or still runs) that version; these protocols can not order it back to a slot.

        By its page; where that does not tell, only where the board has never had another firmware whole.
        """
        with self._translated("ask which version runs"):
            self._need_connection()
            told = self._tells_the_old(self._page_now(), version)
            return not self._may_have_taken if told is None else told

    def _tells_the_old(self, page: Status | None, version: str | None) -> bool | None:
        """Whether it is that of the firmware to go back to; None where it tells one no better than the other."""
        if page is None:
            return None
        if version is not None and page.version is not None and page.version != version:
            return False
        if self._found is not None and self._found.md5 is not None and page.md5 is not None:
            return page.md5 == self._found.md5
        return None if version in (None, self._link.version) or page.version is None else True

    @property
    def _may_restart(self) -> bool:
        return self._written in (Written.SENT, Written.TAKEN)

    def _page_now(self) -> Status | None:
        """None where there is none. Who may have been sent an image, also by an earlier process, may still restart."""
        if self._web is None:
            return None
        if self._may_have_taken:
            return self._page_after_restart(self._link.connect_timeout_s)
        return self._look(Watch(), self._link.read_timeout_s)

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("read the status page"):
            deadline = time.monotonic() + timeout_s
            self._resolve()
            while True:
                text = self._news(max(deadline - time.monotonic(), _POLL_S))
                left_s = deadline - time.monotonic()
                if text or left_s <= 0:
                    return text.encode()
                time.sleep(min(_POLL_S, left_s))

    def _news(self, timeout_s: float) -> str:
        """What the page says, when it says something else than before; and what becomes of the board after that."""
        if self._web is None:
            return self._sign_of_life()
        watch = self._watch
        found = self._look(watch, self._page_timeout_s(timeout_s))
        if found is None:
            return f"{LOST_LINE}\n" if watch.is_lost() else watch.reason()
        if self._may_restart and not self._has_restarted(found, watch):
            return ""
        if watch.shown is not None and found.version == watch.shown.version:
            return ""
        shown, watch.shown = watch.shown, found
        if shown is not None:
            return f"{CHANGED_LINE}: {found.version} after {shown.version}\n"
        return f"{found.shown}\n"

    def _page_timeout_s(self, timeout_s: float) -> float:
        """Long for the first sight of a firmware; then as its pages take: a board that has gone is missed soon."""
        if self._watch.shown is None:
            return PAGE_TIMEOUT_S
        return min(max(timeout_s + 1, 2 * self._slowest_page_s), PAGE_TIMEOUT_S)

    def _sign_of_life(self) -> str:
        """Without a page: what the protocol itself can tell, once."""
        return ""

    def write_console(self, data: bytes) -> None:
        raise NoUpdater(f"a board on the network has no console ({len(data)} bytes to be written)")

    def slow_down(self) -> bool:
        return False

    def close(self) -> None:
        self._connected = False

    def _need_connection(self) -> None:
        if not self._connected:
            raise LinkLost("the session has no board to talk to; connect first")

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(translate, doing, failed=self.close, cut_short=self.close)


def _differ(after: Status | None, before: Status | None) -> bool:
    """Whether another firmware runs after than before; False where one of them is not known."""
    if after is None or before is None:
        return False
    return (after.version, after.md5) != (before.version, before.md5)


def _is_image_alone(data: bytes) -> bool:
    """Whether the file ends with the image's own SHA-256 (ESP-IDF, "App Image Format"), and not with a signature."""
    return data[-32:] == sha256(data[:-32]).digest()


def _md5(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


__all__ = [
    "START_S",
    "UPDATED_BY_NETWORK",
    "USUAL_SLOT",
    "StatusOptions",
    "UpdateSession",
    "UrlPath",
    "Written",
    "boot_failure",
]
