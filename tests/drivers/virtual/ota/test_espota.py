"""The ArduinoOTA board as Arduino's espota.py meets it.

No package of PyPI or Debian has espota.py (PyPI's `espota` is ESPHome's): this client does what its source does, step
by step (arduino-esp32 3.3, `tools/espota.py`), and shares nothing with the driver.
"""

from __future__ import annotations

import hashlib
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.virtual.ota.boards import NEW, OLD, board, new_image, version_of

PASSWORD = "a password"
FLASH, SPIFFS, AUTH = 0, 100, 200


class Espota:
    """One run of it."""

    def __init__(self, host: str, image: Path) -> None:
        name, _, port = host.rpartition(":")
        self.remote = (name, int(port))
        self.image = image.read_bytes()
        self.listener = socket.create_server((name, 0))
        self.listener.settimeout(30)

    def datagram(self, text: str, *, through: socket.socket | None = None, timeout_s: float = 30) -> str:
        """Sent from a port of its own, as the newer ones do; the answer."""
        with nullcontext(through) if through else socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(timeout_s)
            udp.sendto(text.encode(), self.remote)
            return udp.recv(69).decode()

    def is_answered(self, text: str) -> bool:
        """Whether anything comes back within a moment."""
        try:
            self.datagram(text, timeout_s=0.3)
        except TimeoutError:
            return False
        return True

    def invitation(self, command: int = FLASH, size: int | None = None, md5: str | None = None) -> str:
        digest = md5 or hashlib.md5(self.image).hexdigest()
        return f"{command} {self.listener.getsockname()[1]} {len(self.image) if size is None else size} {digest}\n"

    def upload(self) -> str:
        """In pieces of 1024, each answered; what was said after the last."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(30)
            said = ""
            for at in range(0, len(self.image), 1024):
                connection.sendall(self.image[at : at + 1024])
                said = connection.recv(10).decode()
            while "OK" not in said:
                more = connection.recv(32).decode()
                if not more:
                    break
                said += more
            return said

    def close(self) -> None:
        self.listener.close()


def proof(nonce: str, stored_md5: bool = False, password: str = PASSWORD) -> str:
    if len(nonce) == 32:
        cnonce = hashlib.md5(b"x").hexdigest()
        kept = hashlib.md5(password.encode()).hexdigest()
        return f"{AUTH} {cnonce} {hashlib.md5(f'{kept}:{nonce}:{cnonce}'.encode()).hexdigest()}\n"
    cnonce = hashlib.sha256(b"x").hexdigest()
    kept = (hashlib.md5 if stored_md5 else hashlib.sha256)(password.encode()).hexdigest()
    key = hashlib.pbkdf2_hmac("sha256", kept.encode(), f"{nonce}:{cnonce}".encode(), 10000).hex()
    return f"{AUTH} {cnonce} {hashlib.sha256(f'{key}:{nonce}:{cnonce}'.encode()).hexdigest()}\n"


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPOTA_PASSWORD", PASSWORD)


SECRET: dict[str, Any] = {"password": {"env": "ESPOTA_PASSWORD"}}


@pytest.mark.parametrize("core", ["esp32", "esp32c3", "esp8266"])
def test_an_open_board_takes_an_image(tmp_path: Path, core: str):
    with board(tmp_path, "arduino-ota", core) as (_bench, host):
        espota = Espota(host, new_image(tmp_path, core))
        assert espota.datagram(espota.invitation()) == "OK"
        assert espota.upload().endswith("OK")
        espota.close()
        assert version_of(host, NEW) == NEW


@pytest.mark.parametrize(
    ("settings", "length"),
    [({"authentication": "md5"}, 32), ({}, 64), ({"stored_md5": True}, 64)],
    ids=["md5", "sha256", "stored md5"],
)
def test_a_board_with_a_password_asks_as_its_core_does(tmp_path: Path, settings: dict[str, Any], length: int):
    with board(tmp_path, "arduino-ota", **SECRET, **settings) as (_bench, host):
        espota = Espota(host, new_image(tmp_path))
        asked, nonce = espota.datagram(espota.invitation()).split()
        assert (asked, len(nonce)) == ("AUTH", length)
        wrong = proof(nonce, password="another")
        assert espota.datagram(wrong) == "Authentication Failed"
        nonce = espota.datagram(espota.invitation()).split()[1]
        assert espota.datagram(proof(nonce, settings.get("stored_md5", False))) == "OK"
        assert espota.upload().endswith("OK")
        espota.close()
        assert version_of(host, NEW) == NEW


def test_an_esp8266_answers_to_where_the_invitation_came_from(tmp_path: Path):
    with board(tmp_path, "arduino-ota", "esp8266", **SECRET) as (_bench, host):
        espota = Espota(host, new_image(tmp_path, "esp8266"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            nonce = espota.datagram(espota.invitation(), through=udp).split()[1]
            assert len(nonce) == 32
            assert espota.datagram(proof(nonce), through=udp) == "OK"
        assert espota.upload().endswith("OK")
        espota.close()
        assert version_of(host, NEW) == NEW


def test_an_esp8266_says_why_it_does_not_begin_and_an_esp32_does_not(tmp_path: Path):
    for core, answer in (("esp8266", "ERR: ERROR[4]: Not Enough Space\n"), ("esp32", "OK")):
        folder = tmp_path / core
        folder.mkdir()
        with board(folder, "arduino-ota", core) as (_bench, host):
            espota = Espota(host, new_image(folder, core))
            assert espota.datagram(espota.invitation(size=0x200000)) == answer
            espota.listener.settimeout(0.3)
            with pytest.raises(TimeoutError):
                espota.upload()
            espota.close()
            assert version_of(host) == OLD


def test_invitations_that_the_cores_do_not_understand_get_no_answer(tmp_path: Path):
    with board(tmp_path, "arduino-ota", **SECRET) as (_bench, host):
        espota = Espota(host, new_image(tmp_path))
        for text in ("", "hello", "1 2 3 " + "0" * 32, "0 1234 100 short\n", f"{AUTH} x y\n"):
            assert not espota.is_answered(text)
        nonce = espota.datagram(espota.invitation()).split()[1]
        assert not espota.is_answered("0\n")  # what it waited for did not come: it is idle again, without a word
        assert not espota.is_answered(proof(nonce))
        assert espota.datagram(espota.invitation()).startswith("AUTH ")
        espota.close()


def test_a_file_system_is_not_what_the_bench_has(tmp_path: Path):
    with board(tmp_path, "arduino-ota", "esp8266") as (_bench, host):
        espota = Espota(host, new_image(tmp_path, "esp8266"))
        assert espota.datagram(espota.invitation(SPIFFS)).startswith("ERR: ")
        espota.close()


def test_a_wrong_digest_and_a_wrong_kind_are_refused_at_the_end(tmp_path: Path):
    text = tmp_path / "text.bin"
    text.write_bytes(b"hello, board " * 1000)
    with board(tmp_path, "arduino-ota") as (_bench, host):
        espota = Espota(host, new_image(tmp_path))
        assert espota.datagram(espota.invitation(md5="0" * 32)) == "OK"
        assert espota.upload().endswith("MD5 Check Failed\r\n")
        espota.close()
        assert version_of(host) == OLD


def test_a_client_that_goes_silent_is_reminded_and_then_left(tmp_path: Path):
    with board(tmp_path, "arduino-ota") as (_bench, host):
        espota = Espota(host, new_image(tmp_path))
        assert espota.datagram(espota.invitation()) == "OK"
        connection, _ = espota.listener.accept()
        with connection:
            connection.settimeout(30)
            connection.sendall(espota.image[:100])
            said = b""
            while more := connection.recv(10):
                said += more
        assert said == b"100" * 4
        espota.close()
        assert version_of(host) == OLD
