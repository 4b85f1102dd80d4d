"""curl, which we did not write, updates the boards as each updater's own documents say: `curl -F`."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.drivers.virtual.ota.boards import NEW, OLD, board, new_image, version_of


def curl(*arguments: object) -> tuple[int, str]:
    """HTTP status and body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--write-out", "\n%{http_code}"]
        + [str(argument) for argument in arguments],
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.decode().rpartition("\n")
    return int(status), body


def test_the_esp8266s_updater(tmp_path: Path):
    new = new_image(tmp_path, "esp8266")
    with board(tmp_path, "http-ota", "esp8266", updater="esp8266") as (_bench, host):
        status, body = curl("-F", f"firmware=@{new}", f"http://{host}/update")
        assert (status, "Update Success! Rebooting..." in body) == (200, True)
        assert version_of(host, NEW) == NEW


def test_the_esp32s_updater_wants_the_origin(tmp_path: Path):
    new = new_image(tmp_path)
    with board(tmp_path, "http-ota", updater="esp32") as (_bench, host):
        url = f"http://{host}/update"
        assert curl("-F", f"firmware=@{new}", url) == (200, "Update error: Wrong origin received!")
        assert version_of(host) == OLD
        status, body = curl("-F", f"firmware=@{new}", "-H", f"Origin: http://{host}", url)
        assert (status, "Update Success" in body) == (200, True)
        assert version_of(host, NEW) == NEW


def test_elegantota_2_wants_the_md5_before_the_file(tmp_path: Path):
    new = new_image(tmp_path)
    digest = hashlib.md5(new.read_bytes()).hexdigest()
    with board(tmp_path, "http-ota", updater="elegant", md5=True) as (_bench, host):
        url = f"http://{host}/update"
        assert curl("-F", f"firmware=@{new}", url) == (400, "MD5 parameter missing")
        assert curl("-F", f"MD5={'0' * 32}", "-F", f"firmware=@{new}", url) == (400, "Could not end OTA")
        assert version_of(host) == OLD
        assert curl("-F", f"MD5={digest}", "-F", f"firmware=@{new}", url) == (200, "OK")
        assert version_of(host, NEW) == NEW


def test_elegantota_3_is_told_first(tmp_path: Path):
    new = new_image(tmp_path)
    digest = hashlib.md5(new.read_bytes()).hexdigest()
    with board(tmp_path, "http-ota", updater="elegant3", md5=True) as (_bench, host):
        assert curl(f"http://{host}/ota/start?mode=fr&hash={'0' * 32}") == (200, "OK")
        status, body = curl("-F", f"file=@{new}", f"http://{host}/ota/upload")
        assert (status, body) == (400, "MD5 Check Failed\r\n")
        assert version_of(host) == OLD
        assert curl(f"http://{host}/ota/start?mode=fr&hash={digest}") == (200, "OK")
        assert curl("-F", f"file=@{new}", f"http://{host}/ota/upload") == (200, "OK")
        assert version_of(host, NEW) == NEW


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_passwords(tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CURL_TEST_PASSWORD", "a password")
    new = new_image(tmp_path)
    settings = {"username": "admin", "password": {"env": "CURL_TEST_PASSWORD"}, "authentication": scheme}
    with board(tmp_path, "http-ota", updater="elegant", **settings) as (_bench, host):
        form = ["-F", f"MD5={hashlib.md5(new.read_bytes()).hexdigest()}", "-F", f"firmware=@{new}"]
        assert curl(*form, f"http://{host}/update")[0] == 401
        assert curl(f"--{scheme}", "-u", "admin:another", *form, f"http://{host}/update")[0] == 401
        assert version_of(host) == OLD
        assert curl(f"--{scheme}", "-u", "admin:a password", *form, f"http://{host}/update") == (200, "OK")
        assert version_of(host, NEW) == NEW


def test_what_is_no_image_no_form_or_no_page_is_refused(tmp_path: Path):
    text = tmp_path / "text.bin"
    text.write_bytes(b"hello, board " * 1000)
    with board(tmp_path, "http-ota", updater="esp32") as (_bench, host):
        origin = ("-H", f"Origin: http://{host}")
        url = f"http://{host}/update"
        assert curl("-F", f"firmware=@{text}", *origin, url) == (200, "Update error: Wrong Magic Byte\r\n")
        assert curl("-F", f"filesystem=@{text}", *origin, url)[1].startswith("Update error: ")
        assert curl("-F", "field=1", *origin, url) == (200, "Update error: Wrong origin received!")
        assert curl("--data-binary", f"@{text}", *origin, url)[0] == 400
        assert curl("-X", "PUT", f"http://{host}/update")[0] == 404
        assert curl(f"http://{host}/nowhere")[0] == 404
        assert version_of(host) == OLD
