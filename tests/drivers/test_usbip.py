"""USB/IP as a client: pyusb through our backend, against a server that is not ours (PyPI's `usbip`), and noise."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import usb.core
import usb.util
import usbip.protocol as server_side
from hypothesis import given, settings
from hypothesis import strategies as st
from usbip import In, Interface, Out, Setup, Stall, USBDevice

from drivers.base import DeviceError, PortUnavailable
from drivers.pico import usb_devices, usbip
from drivers.pico.usbip_backend import UsbIpBackend, descriptors


class Echo(Interface):
    """Gives back what it gets, twice the control request's value, and refuses other requests."""

    answer = In(0x84)
    question = Out(0x03)

    def on_out(self, ep, data):
        self.answer.write(bytes(data))

    def on_control(self, setup: Setup, data: bytes = b""):
        if setup.bRequest != 7:
            raise Stall
        return struct.pack("<I", 2 * setup.wValue)


def serve(handle: Callable[[socket.socket], object]) -> tuple[socket.socket, int]:
    """A server on a free port, each connection in a thread; ends with its socket."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            handle(client)

    threading.Thread(target=run, daemon=True).start()
    return listener, listener.getsockname()[1]


def end(listener: socket.socket) -> None:
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def port() -> Iterator[int]:
    device = USBDevice(0x2E8A, 0x0003, manufacturer="Somebody", product="Echo", serial="E1")
    device.add(Echo())
    listener, number = serve(lambda client: server_side.serve_connection(client, [device]))
    yield number
    end(listener)


@pytest.fixture
def device(port: int) -> Iterator[usb.core.Device]:
    found = usb_devices.find(f"usbip://127.0.0.1:{port}/1-1")
    assert found is not None
    found.default_timeout = 30_000  # ms
    found.set_configuration()
    yield found
    usb_devices.release(found)


def test_a_server_lists_what_it_exports(port: int):
    (found,) = usbip.exported("127.0.0.1", port)
    assert (found.busid, found.vendor, found.product) == ("1-1", 0x2E8A, 0x0003)


def test_pyusb_works_with_a_remote_device_as_with_a_local_one(device: usb.core.Device):
    assert usb_devices.serial_number(device) == "E1"
    assert usb.util.get_string(device, device.iManufacturer) == "Somebody"
    (interface,) = device.get_active_configuration()
    assert [endpoint.bEndpointAddress for endpoint in interface] in ([0x84, 0x03], [0x03, 0x84])
    assert device.write(0x03, b"hello") == 5
    assert device.read(0x84, 64).tobytes() == b"hello"
    assert device.ctrl_transfer(0xC1, 7, 21, 0, 4).tobytes() == struct.pack("<I", 42)


def test_a_refused_transfer_is_a_stall_after_which_the_device_works_on(device: usb.core.Device):
    with pytest.raises(usb.core.USBError) as raised:
        device.ctrl_transfer(0xC1, 8, 0, 0, 4)
    assert raised.value.errno == errno.EPIPE
    assert device.ctrl_transfer(0xC1, 7, 1, 0, 4).tobytes() == struct.pack("<I", 2)


def test_a_transfer_that_nobody_answers_ends_with_its_time(device: usb.core.Device):
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x84, 64, 100)
    assert device.ctrl_transfer(0xC1, 7, 1, 0, 4).tobytes() == struct.pack("<I", 2), "it is imported anew"


def test_a_bus_id_that_is_not_exported_is_not_there(port: int):
    assert usb_devices.find(f"usbip://127.0.0.1:{port}/9-9") is None
    with pytest.raises(usbip.UsbIpError, match="does not export"):
        usbip.Imported("127.0.0.1", port, "9-9")


def test_a_server_that_is_not_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(PortUnavailable, match="USB/IP server") as raised:
        usb_devices.find(f"usbip://127.0.0.1:{free}/1-1")
    assert "usbipd" in raised.value.advice


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("usbip://host/1-1.4", ("host", 3240, "1-1.4")),
        ("usbip://10.0.0.5:3241/2-1", ("10.0.0.5", 3241, "2-1")),
        ("usbip://[::1]:3240/1-1", ("::1", 3240, "1-1")),
    ],
)
def test_an_address_names_host_port_and_bus_id(value: str, parsed: tuple[str, int, str]):
    assert usbip.parse_address(value) == parsed


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=30), st.text(max_size=30).map(lambda text: f"usbip://{text}")))
def test_any_text_is_an_address_or_a_value_error(text: str):
    try:
        _, port, busid = usbip.parse_address(text)
    except ValueError:
        return
    assert 0 < port < 0x10000
    assert busid


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=100))
def test_any_bytes_are_descriptors_as_far_as_they_make_sense(data: bytes):
    assert len(b"".join(descriptors(data))) <= len(data)


REPLY = struct.pack(">HHI", 0x0111, 0x0003, 0)
LIST = struct.pack(">HHII", 0x0111, 0x0005, 0, 1)
DEVICE = struct.pack(">256s32sIIIHHHBBBBBB", b"/sys", b"1-1", 1, 2, 2, 0x2E8A, 3, 0x100, 0, 0, 0, 1, 1, 0)
ANSWER = struct.pack(">5Iiiiii8x", 3, 1, 0, 0, 0, 0, 18, 0, 0, 0)
NOISE = st.one_of(
    st.binary(max_size=400),
    st.binary(max_size=80).map(lambda tail: LIST + DEVICE + tail),
    st.binary(max_size=80).map(lambda tail: REPLY + DEVICE + tail),
    st.binary(max_size=80).map(lambda tail: REPLY + DEVICE + ANSWER + tail),
)


@settings(max_examples=40, deadline=None)
@given(noise=st.lists(NOISE, min_size=2, max_size=4))
def test_no_server_at_all_crashes_the_client(noise: list[bytes]):
    """Each connection is answered with the next piece, then closed."""
    pieces = iter(noise)

    def handle(client: socket.socket) -> None:
        client.recv(8)
        client.sendall(next(pieces, b""))

    listener, number = serve(handle)
    try:
        with pytest.raises((usbip.UsbIpError, usb.core.USBError)):
            backend = UsbIpBackend("127.0.0.1", number, "1-1")
            try:
                found = usb.core.find(backend=backend)
                assert found is not None
                found.ctrl_transfer(0xC1, 7, 1, 0, 4, 500)
                found.get_active_configuration()
            finally:
                backend.release()
        with suppress(usbip.UsbIpError):
            usbip.exported("127.0.0.1", number)
        with suppress(DeviceError, usb.core.USBError):
            assert usb_devices.find(f"usbip://127.0.0.1:{number}/1-1") is None
    finally:
        end(listener)
