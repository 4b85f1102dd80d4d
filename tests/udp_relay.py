"""A relay between a client and a board's UDP port, which loses and doubles datagrams, and has an address of its own."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Fate = Callable[[bytes], int]
"""How often a datagram is passed on: 0 is lost, 2 is doubled."""


def own_address() -> str:
    """An address of the loopback network that no other test process has, for tools with a fixed port."""
    return f"127.99.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}"


@contextmanager
def relay(
    board: str, host: str = "127.0.0.1", port: int = 0, there: Fate = lambda _: 1, back: Fate = lambda _: 1
) -> Iterator[str]:
    """`host:port` at which the board at `host:port` is reached."""
    board_host, _, board_port = board.rpartition(":")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop,
    ):
        front.bind((host, port))
        rear.connect((board_host, int(board_port)))
        stop.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_pass_on, args=(front, rear, stop, there, back))
        thread.start()
        try:
            yield f"{host}:{front.getsockname()[1]}"
        finally:
            stop.sendto(b"stop", stop.getsockname())
            thread.join()


def _pass_on(front: socket.socket, rear: socket.socket, stop: socket.socket, there: Fate, back: Fate) -> None:
    client = None
    while True:
        ready, _, _ = select.select([front, rear, stop], [], [])
        if stop in ready:
            return
        if front in ready:
            data, client = front.recvfrom(0x10000)
            for _ in range(there(data)):
                rear.send(data)
        if rear in ready:
            try:
                data = rear.recv(0x10000)
            except ConnectionRefusedError:
                continue
            for _ in range(back(data)):
                front.sendto(data, client)
