"""A pyusb backend for one device that a USB/IP server exports: pyusb's users do not see the difference."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from drivers.pico.usbip import Imported, UsbIpError

_GET_DESCRIPTOR, _SET_CONFIGURATION, _GET_CONFIGURATION, _SET_INTERFACE = 0x06, 0x09, 0x08, 0x0B
_CLEAR_FEATURE, _ENDPOINT_HALT = 0x01, 0
_DEVICE_TYPE, _CONFIGURATION_TYPE, _INTERFACE_TYPE, _ENDPOINT_TYPE = 1, 2, 4, 5
_DEVICE = struct.Struct("<BBHBBBBHHHBBBB")
_DEVICE_FIELDS = (
    *("bLength", "bDescriptorType", "bcdUSB", "bDeviceClass", "bDeviceSubClass", "bDeviceProtocol"),
    *("bMaxPacketSize0", "idVendor", "idProduct", "bcdDevice", "iManufacturer", "iProduct", "iSerialNumber"),
    "bNumConfigurations",
)
_CONFIGURATION = struct.Struct("<BBHBBBBB")
_CONFIGURATION_FIELDS = (
    *("bLength", "bDescriptorType", "wTotalLength", "bNumInterfaces", "bConfigurationValue", "iConfiguration"),
    *("bmAttributes", "bMaxPower"),
)
_INTERFACE = struct.Struct("<9B")
_INTERFACE_FIELDS = (
    *("bLength", "bDescriptorType", "bInterfaceNumber", "bAlternateSetting", "bNumEndpoints", "bInterfaceClass"),
    *("bInterfaceSubClass", "bInterfaceProtocol", "iInterface"),
)
_ENDPOINT = struct.Struct("<BBBBHB")
_ENDPOINT_FIELDS = ("bLength", "bDescriptorType", "bEndpointAddress", "bmAttributes", "wMaxPacketSize", "bInterval")
_LIMIT_MS = 5000


class UsbIpBackend(usb.backend.IBackend):  # type: ignore[misc]  # pyusb ships no types
    """See `usb.backend.IBackend`. The one device is imported when pyusb first asks for it."""

    def __init__(self, host: str, port: int, busid: str) -> None:
        super().__init__()
        self._place = (host, port, busid)
        self._imported: Imported | None = None
        self._configurations: dict[int, bytes] = {}

    def release(self) -> None:
        """Give the device back to its server."""
        imported, self._imported = self._imported, None
        if imported is not None:
            imported.close()

    @property
    def _device(self) -> Imported:
        if self._imported is None:
            self._imported = Imported(*self._place)
        return self._imported

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """pyusb's errors, as its libusb backend raises them."""
        try:
            yield
        except TimeoutError as error:
            self.release()
            raise usb.core.USBTimeoutError("Operation timed out", None, errno.ETIMEDOUT) from error
        except UsbIpError as error:
            if error.errno != errno.EPIPE:
                self.release()
            raise usb.core.USBError(error.strerror, None, error.errno) from error

    def _control(self, kind: int, request: int, value: int, index: int, size: int, limit_ms: int = _LIMIT_MS) -> bytes:
        with self._errors():
            setup = struct.pack("<BBHHH", kind, request, value, index, size)
            return self._device.control(setup, b"", size, limit_ms / 1000)

    def enumerate_devices(self) -> Iterator[str]:
        yield self._place[2]

    def get_device_descriptor(self, dev: str) -> SimpleNamespace:  # noqa: ARG002
        data = self._control(0x80, _GET_DESCRIPTOR, _DEVICE_TYPE << 8, 0, _DEVICE.size)
        described = _described(_DEVICE_FIELDS, _DEVICE, data)
        about = self._device.device
        described.address, described.bus, described.speed = about.number, about.bus, about.speed
        described.port_number = described.port_numbers = None
        return described

    def get_configuration_descriptor(self, dev: str, config: int) -> SimpleNamespace:  # noqa: ARG002
        data = self._configuration(config)
        return _described(_CONFIGURATION_FIELDS, _CONFIGURATION, data)

    def get_interface_descriptor(self, dev: str, intf: int, alt: int, config: int) -> SimpleNamespace:  # noqa: ARG002
        return _described(_INTERFACE_FIELDS, _INTERFACE, self._interface(intf, alt, config)[0])

    def get_endpoint_descriptor(
        self,
        dev: str,  # noqa: ARG002
        ep: int,
        intf: int,
        alt: int,
        config: int,
    ) -> SimpleNamespace:
        return _described(_ENDPOINT_FIELDS, _ENDPOINT, self._interface(intf, alt, config)[1 + ep])

    def _configuration(self, index: int) -> bytes:
        if index not in self._configurations:
            head = self._control(0x80, _GET_DESCRIPTOR, _CONFIGURATION_TYPE << 8 | index, 0, 9)
            total = int.from_bytes(head[2:4], "little")
            whole = self._control(0x80, _GET_DESCRIPTOR, _CONFIGURATION_TYPE << 8 | index, 0, total)
            self._configurations[index] = whole
        return self._configurations[index]

    def _interface(self, interface: int, alternate: int, config: int) -> list[bytes]:
        """The descriptors of one setting of an interface, then its endpoints'. IndexError where there is none."""
        groups: list[list[bytes]] = []
        for descriptor in descriptors(self._configuration(config)):
            if descriptor[1] == _INTERFACE_TYPE and len(descriptor) >= 9:
                groups.append([descriptor])
            elif descriptor[1] == _ENDPOINT_TYPE and len(descriptor) >= 7 and groups:
                groups[-1].append(descriptor)
        numbers = list(dict.fromkeys(group[0][2] for group in groups))
        return [group for group in groups if group[0][2] == numbers[interface]][alternate]

    def open_device(self, dev: str) -> str:
        with self._errors():
            assert self._device
        return dev

    def close_device(self, dev_handle: str) -> None:  # noqa: ARG002
        self.release()

    def get_configuration(self, dev_handle: str) -> int:  # noqa: ARG002
        answer = self._control(0x80, _GET_CONFIGURATION, 0, 0, 1)
        return answer[0] if answer else 0

    def set_configuration(self, dev_handle: str, config_value: int) -> None:
        if self.get_configuration(dev_handle) != config_value:  # doing it again would abort what the ROM is busy with
            self._control(0x00, _SET_CONFIGURATION, config_value, 0, 0)

    def set_interface_altsetting(self, dev_handle: str, intf: int, altsetting: int) -> None:  # noqa: ARG002
        self._control(0x01, _SET_INTERFACE, altsetting, intf, 0)

    def claim_interface(self, dev_handle: str, intf: int) -> None:
        """The import has claimed the whole device."""

    def release_interface(self, dev_handle: str, intf: int) -> None:
        """See `claim_interface`."""

    def clear_halt(self, dev_handle: str, ep: int) -> None:  # noqa: ARG002
        self._control(0x02, _CLEAR_FEATURE, _ENDPOINT_HALT, ep, 0)

    def is_kernel_driver_active(self, dev_handle: str, intf: int) -> bool:  # noqa: ARG002
        return False  # the server has unbound its own

    def bulk_write(self, dev_handle: str, ep: int, intf: int, data: Any, timeout: int) -> int:  # noqa: ARG002
        with self._errors():
            return self._device.bulk_out(ep, bytes(data), timeout / 1000)

    def bulk_read(self, dev_handle: str, ep: int, intf: int, buff: Any, timeout: int) -> int:  # noqa: ARG002
        with self._errors():
            return _fill(buff, self._device.bulk_in(ep, len(buff) * buff.itemsize, timeout / 1000))

    def ctrl_transfer(
        self,
        dev_handle: str,  # noqa: ARG002
        bmRequestType: int,  # noqa: N803  (pyusb's names)
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: Any,
        timeout: int,
    ) -> int:
        size = len(data) * int(data.itemsize)
        setup = struct.pack("<BBHHH", bmRequestType, bRequest, wValue, wIndex, size)
        with self._errors():
            if bmRequestType & 0x80:
                return _fill(data, self._device.control(setup, b"", size, timeout / 1000))
            self._device.control(setup, bytes(data), size, timeout / 1000)
            return size


def descriptors(data: bytes) -> Iterator[bytes]:
    """The descriptors that a configuration consists of; stops where they make no sense any more."""
    at = 0
    while at + 2 <= len(data) and data[at] >= 2:
        yield data[at : at + data[at]]
        at += data[at]


def _described(names: Sequence[str], layout: struct.Struct, data: bytes) -> SimpleNamespace:
    if len(data) < layout.size:
        raise usb.core.USBError("a descriptor is cut short", None, errno.EPROTO)
    values = layout.unpack(data[: layout.size])
    return SimpleNamespace(**dict(zip(names, values, strict=True)), extra_descriptors=[], bRefresh=0, bSynchAddress=0)


def _fill(buffer: Any, data: bytes) -> int:
    memoryview(buffer).cast("B")[: len(data)] = data
    return len(data)
