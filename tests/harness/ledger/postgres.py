"""A PostgreSQL server of the tests' own: on loopback, in a folder that goes away, ended by its process id."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))

_WHO_MAY_CONNECT = """
host all careful 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


@dataclass
class Server:
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"ledger_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_server() -> Iterator[Server]:
    """Of the newest version installed. PostgreSQL refuses root, so root runs it as the user of Debian's package."""
    assert BINARIES, "the ledger's tests need PostgreSQL: sh .ci/debian-packages"
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="batch-flash-postgresql-"))
    if as_user:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        data = folder / "data"
        initdb = [BINARIES[-1] / "initdb", "--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", data]
        subprocess.run(initdb, cwd=folder, check=True, capture_output=True, **as_user)
        (data / "pg_hba.conf").write_text(_WHO_MAY_CONNECT)
        server, port = _start(folder, data, as_user)
        try:
            yield Server(port)
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder)


def _start(folder: Path, data: Path, as_user: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    """On a free port; on another one where somebody was faster, since PostgreSQL chooses none itself."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [BINARIES[-1] / "postgres", "-D", data, *options], cwd=folder, stdout=log, stderr=log, **as_user
            )
        if _is_ready(folder, port, server):
            return server, port
    raise AssertionError((folder / "log").read_text())


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # "fast": ends the sessions, and itself
    server.wait(timeout=60)


def _is_ready(folder: Path, port: int, server: subprocess.Popen[bytes]) -> bool:
    """Whether this very server answers; False where it has ended."""
    command = [BINARIES[-1] / "pg_isready", f"--host={folder}", f"--port={port}", "--timeout=1"]
    for _ in range(600):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return True
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=0.1)
            return False
    raise AssertionError(f"PostgreSQL does not answer: {(folder / 'log').read_text()}")
