"""One board is asked who it is: `python -m harness.discovery.prober`, with the question on stdin, the answer on stdout.

A process of its own, since esptool's module state serves one board at a time, and a time limit needs a main thread.
The port's lock is held meanwhile, as in a run; a board on a serial line is reset afterwards, so that its application
runs again. Nothing is written to it.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drivers import device_types, load_driver
from drivers.base import (
    DeviceError,
    Driver,
    Identity,
    Interface,
    Link,
    PortPermission,
    PortUnavailable,
    Session,
)
from harness.deadline import limit
from harness.discovery.protocols import Attempt, attempts
from harness.discovery.sighting import Connection, Status
from harness.locks import PortLock

_CONSOLE_BAUD = 115200  # nothing is read from it
_RESET_S = 5.0

Answer = dict[str, Any]


def answer(question: Answer) -> Answer:
    """What is to be told: `identity` and `device_type`, or a `status`; and a `remark`."""
    connection = Connection(**question["connection"])
    lock_dir = Path(question["lock_dir"]) if question["lock_dir"] else None
    with ExitStack() as locks:
        for place in dict.fromkeys((*filter(None, [_place(connection, question["types"])]), *question["locks"])):
            lock = locks.enter_context(PortLock(place, "discover", "a probe", lock_dir))
            try:
                lock.acquire(0)
            except PortUnavailable as error:
                return {"status": Status.IN_USE, "remark": error.message.partition("; waited")[0]}
        return _try_all(connection, question["types"], question["chip"], question["seconds"])


def _place(connection: Connection, types: Sequence[str]) -> str:
    return _with_port(connection, load_driver(types[0])).place


def _with_port(connection: Connection, driver: Driver) -> Connection:
    if not connection.host:
        return connection
    return Connection(host=connection.host, host_port=connection.host_port or driver.defaults.port or 80)


def _try_all(connection: Connection, types: Sequence[str], chip: str, seconds: float) -> Answer:
    failures = []
    for attempt in attempts(types, chip):
        named = [name for name in attempt.types if name in device_types()]
        driver = load_driver(next((name for name in types if name in named), named[0]))
        try:
            identity = _identity(driver, _with_port(connection, driver), attempt, seconds)
        except PortPermission as error:
            return {"status": Status.NO_PERMISSION, "remark": f"{error.message}: {error.advice}"}
        except PortUnavailable as error:
            return {"status": Status.IN_USE, "remark": f"{error.message}: {error.advice}"}
        except (DeviceError, ValidationError) as error:
            failures.append(f"{driver.device_type}: {_message(error)}")
        else:
            return {
                "identity": asdict(identity),
                "chip": attempt.chip,
                **_rate(driver, attempt),
                **_named(identity, named),
            }
    return {"status": Status.NO_ANSWER, "remark": "; ".join(dict.fromkeys(failures))}


def _rate(driver: Driver, attempt: Attempt) -> Answer:
    """Where it is not the one that a run would use: a boot loader with a rate of its own."""
    usual = driver.defaults.flash_baudrate
    is_fixed = len({other.baud for other in attempts(attempt.types, attempt.chip)}) > 1
    return {"flash_baudrate": attempt.baud} if is_fixed and attempt.baud != usual else {}


def _message(error: DeviceError | ValidationError) -> str:
    if isinstance(error, DeviceError):
        return error.message
    missing = ", ".join(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])
    return f"can not be asked without its options ({missing})"


def _named(identity: Identity, protocol: Sequence[str]) -> Answer:
    """Which of the protocol's device types has answered; "" for a relative that no driver knows."""
    for device_type in protocol:
        if load_driver(device_type).matches(device_type, identity):
            return {"device_type": device_type}
    if len(protocol) == 1:
        return {"device_type": protocol[0]}
    return {"device_type": "", "remark": f"no driver for the {identity.chip} is installed"}


def _identity(driver: Driver, connection: Connection, attempt: Attempt, seconds: float) -> Identity:
    on_usb = driver.interface is Interface.USB
    link = Link(
        # a board that is a drive is brought into its boot loader by this port, and nothing would bring it back
        port="" if on_usb else connection.link_port,
        baudrate=_CONSOLE_BAUD,
        flash_baudrate=attempt.baud,
        chip=attempt.chip or driver.device_type,
        options=driver.options(),
        mount_point=connection.mount_point,
        usb=connection.usb,
        connect_timeout_s=seconds,
        read_timeout_s=seconds,
    )
    session = driver.open(link, _to_stderr)
    try:
        with limit(seconds, "identifying it"):
            return session.connect()
    finally:
        _start_application(driver, session)
        session.close()


def _start_application(driver: Driver, session: Session) -> None:
    """Leave a board on a serial line running what it has, as after a run that wrote nothing.

    Not a board on the network, which has run all the time; nor one that was brought into its boot loader by hand.
    """
    if driver.interface is not Interface.SERIAL:
        return
    try:
        with limit(_RESET_S, "the reset"):
            session.reset()
    except DeviceError as error:
        _to_stderr(f"could not start the application again: {error}")


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    # Whoever started us may ignore these (a worker of a run does): children inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    question = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):  # a library that prints must not garble the answer
        told = answer(question)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
