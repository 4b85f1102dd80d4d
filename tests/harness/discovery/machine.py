"""A machine of a test's own: serial ports with udev's links, mounted drives, and nothing of the real one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from serial.tools.list_ports_common import ListPortInfo

from harness.discovery import Places

CP2102 = (0x10C4, 0xEA60)
CH340 = (0x1A86, 0x7523)
FT4232 = (0x0403, 0x6011)
UNO = (0x2341, 0x0043)
LEONARDO_BOOT, LEONARDO = (0x2341, 0x0036), (0x2341, 0x8036)
ESP_JTAG = (0x303A, 0x1001)
PICO_APP = (0x2E8A, 0x000A)
ST_LINK = (0x0483, 0x374B)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dev = folder / "dev"
        self.links = self.dev / "serial"
        self.mounts = folder / "mounts"
        self.sysfs = folder / "sys"
        self.bench = folder / ".bench"
        self.lock_dir = folder / "locks"
        self._ports: list[ListPortInfo] = []
        for new in (self.dev, self.bench):
            new.mkdir()
        self.mounts.write_text("sysfs /sys sysfs rw 0 0\n")

    def plug_in(
        self,
        name: str,
        usb: tuple[int, int] | None = CP2102,
        serial: str | None = None,
        location: str | None = None,
        by_id: str | None = None,
        by_path: str | None = None,
        device: str | None = None,
    ) -> str:
        """A port, its links as udev would make them: the last one wins a name that two ports would have."""
        path = self.dev / name
        if device is None:
            path.touch()
        port = ListPortInfo(device or str(path))
        port.vid, port.pid = usb or (None, None)
        port.serial_number, port.location = serial, location
        self._ports.append(port)
        for kind, link in (("by-id", by_id), ("by-path", by_path)):
            if link:
                self._link(self.links / kind / link, port.device)
        return port.device

    @staticmethod
    def _link(link: Path, device: str) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(device)

    def mount(self, name: str, info: str | bytes | None, device: str = "/dev/sda1", kind: str = "vfat") -> Path:
        folder = self.folder / "media" / name
        folder.mkdir(parents=True)
        if info is not None:
            (folder / "INFO_UF2.TXT").write_bytes(info.encode() if isinstance(info, str) else info)
        escaped = str(folder).replace(" ", r"\040")
        with self.mounts.open("a") as file:
            file.write(f"{device} {escaped} {kind} rw,nosuid 0 0\n")
        return folder

    def usb_device(self, place: str, vid: int, pid: int, serial: str = "") -> Path:
        """As the kernel tells of it: real folders below /sys/devices, links in /sys/bus/usb/devices."""
        path = self.sysfs / "devices/pci0000:00/0000:00:14.0/usb1" / place
        path.mkdir(parents=True)
        told = {"idVendor": f"{vid:04x}", "idProduct": f"{pid:04x}", "busnum": "1", "devnum": "7", "serial": serial}
        for name, value in told.items():
            (path / name).write_text(value + "\n")
        self._link(self.sysfs / "bus/usb/devices" / place, str(path))
        return path

    def places(self, drives: Iterable[Path] = ()) -> Places:
        """Everything of this machine, and no network."""
        return Places(
            drives=tuple(drives),
            bench=self.bench,
            network=False,
            ports=lambda: self._ports,
            serial_links=self.links,
            mounts=self.mounts,
            sysfs=self.sysfs,
            usb_nodes=self.dev / "bus/usb",
        )
