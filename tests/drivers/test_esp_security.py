"""ESP chips whose eFuses ask for more than an image of the right kind: Secure Boot, and anti-rollback."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import drivers
from drivers.base import Identity, Link, Region, Segment
from drivers.virtual.client import Bench
from drivers.virtual.errors import BenchError
from drivers.virtual.spec import BenchSpec, BoardSpec
from harness.deadline import limit
from tests.harness.esp_images import app_image

S3, C3, ESP32 = 0x60007000, 0x60008800, 0x3FF5A000  # where their eFuses begin
TABLE = Segment(0x8000, b"\xaa\x50" * 16, "table.bin")


class Signer:
    """`espsecure`, as a build calls it, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _run(self, *arguments: str | Path) -> str:
        command = [sys.executable, "-m", "espsecure", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def key(self, name: str, scheme: str) -> Path:
        path = self._folder / f"{name}.pem"
        if not path.exists():
            more = ("--scheme", scheme) if scheme != "v1" else ()
            self._run("generate-signing-key", "--version", "1" if scheme == "v1" else "2", *more, path)
        return path

    def sign(self, image: bytes, *keys: Path, version: str = "2") -> bytes:
        plain, signed = self._folder / "plain.bin", self._folder / "signed.bin"
        plain.write_bytes(image)
        signed.unlink(missing_ok=True)
        named = [part for key in keys for part in ("--keyfile", key)]
        self._run("sign-data", "--version", version, *named, "--output", signed, plain)
        return signed.read_bytes()

    def digest(self, key: Path) -> bytes:
        """What goes into a chip's eFuses."""
        path = self._folder / "digest.bin"
        self._run("digest-sbv2-public-key", "--keyfile", key, "--output", path)
        return path.read_bytes()


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"))


@contextlib.contextmanager
def chip(state: Path, kind: str, efuses: Mapping[int, int]) -> Iterator[Identity]:
    options = {"efuses": {hex(register): bits for register, bits in efuses.items()}}
    spec = BoardSpec.model_validate({"board_id": "fused", "chip": kind, "options": options})
    with Bench.start(BenchSpec(state=state, boards=(spec,))) as bench:
        session = drivers.load_driver(kind).open(Link(bench.boards["fused"].pty, 115200, 921600), lambda _line: None)
        try:
            yield session.connect()
        finally:
            session.close()


def key_block(number: int, digest: bytes) -> dict[int, int]:
    words = struct.unpack("<8I", digest)
    return {S3 + 0x9C + 0x20 * number + 4 * at: word for at, word in enumerate(words)}


def refusal(identity: Identity, data: bytes, address: int = 0x10000) -> str:
    return drivers.load_driver(identity.chip).refusal(Segment(address, data, "app.bin"), identity)


@pytest.mark.parametrize("scheme", ["rsa3072", "ecdsa256", "ecdsa384"])
def test_secure_boot_starts_what_is_signed_with_a_key_that_it_trusts(tmp_path: Path, signer: Signer, scheme: str):
    """Key block 0 holds a key that was revoked, block 2 the one that is trusted."""
    trusted, revoked = signer.key(f"{scheme}-trusted", scheme), signer.key(f"{scheme}-revoked", scheme)
    efuses = {
        S3 + 0x34: 9 << 24 | 1 << 21,  # KEY_PURPOSE_0: SECURE_BOOT_DIGEST0; SECURE_BOOT_KEY_REVOKE0
        S3 + 0x38: 10 << 0 | 0b11 << 20,  # KEY_PURPOSE_2: SECURE_BOOT_DIGEST1; SECURE_BOOT_EN, _AGGRESSIVE_REVOKE
        **key_block(0, signer.digest(revoked)),
        **key_block(2, signer.digest(trusted)),
    }
    image = app_image("esp32s3", size=5000)
    signed = signer.sign(image, trusted)
    with chip(tmp_path, "esp32s3", efuses) as identity:
        for address in (0x0, 0x10000):  # its boot loader, and an application
            assert refusal(identity, signed, address) == ""
            for unsigned in (image, image[:30], signed[:-0x1000]):
                assert refusal(identity, unsigned, address).startswith("app.bin: it is not signed")
        assert refusal(identity, signer.sign(image, revoked, trusted)) == ""
        assert "a key that the chip does not trust, or has revoked" in refusal(identity, signer.sign(image, revoked))
        changed = bytearray(signed)
        changed[0x100] ^= 1
        assert "changed after it was signed" in refusal(identity, bytes(changed))
        changed[-0x1000] ^= 1
        assert "it is not signed" in refusal(identity, bytes(changed))
        assert drivers.load_driver("esp32s3").refusal(TABLE, identity) == ""


def test_secure_boot_of_an_esp32_asks_for_a_signature_whatever_the_key(tmp_path: Path, signer: Signer):
    image = app_image("esp32")
    signed = signer.sign(image, signer.key("rsa3072-trusted", "rsa3072"))
    with chip(tmp_path, "esp32", {ESP32 + 0x18: 1 << 5}) as identity:  # ABS_DONE_1
        assert refusal(identity, signed) == ""
        assert "it is not signed, and the chip's Secure Boot V2" in refusal(identity, image)


def test_secure_boot_v1_keeps_the_boot_loader_that_the_chip_has(tmp_path: Path, signer: Signer):
    image = app_image("esp32")
    signed = signer.sign(image, signer.key("v1", "v1"), version="1")
    with chip(tmp_path, "esp32", {ESP32 + 0x18: 1 << 4}) as identity:  # ABS_DONE_0
        assert refusal(identity, signed) == ""
        assert "it is not signed, and the chip's Secure Boot V1" in refusal(identity, image)
        assert "takes no other boot loader" in refusal(identity, signed, 0x1000)


def with_secure_version(chip: str, version: int) -> bytes:
    image = bytearray(app_image(chip))
    at = image.index(struct.pack("<I", 0xABCD5432))
    image[at + 4 : at + 8] = version.to_bytes(4, "little")
    image[-32:] = hashlib.sha256(image[:-32]).digest()
    return bytes(image)


def test_an_application_older_than_anti_rollback_allows_is_refused(tmp_path: Path):
    with chip(tmp_path, "esp32c3", {C3 + 0x3C: 0b11 << 14}) as identity:  # SECURE_VERSION: two bits are burned
        assert refusal(identity, with_secure_version("esp32c3", 2)) == ""
        assert refusal(identity, with_secure_version("esp32c3", 3)) == ""
        assert refusal(identity, with_secure_version("esp32c3", 1)) == (
            "app.bin: its secure version is 1, and the chip's anti-rollback (eFuse SECURE_VERSION) starts none below 2"
        )


def test_a_boot_loader_that_only_knows_the_magic_word_has_no_secure_version(tmp_path: Path):
    """One with anti-rollback compares with it. The first application of a merged image need not be what is started."""
    magic = struct.pack("<I", 0xABCD5432)
    boot_loader = bytearray(app_image("esp32c3", size=5000).replace(magic, bytes(4)))
    boot_loader[0x200:0x208] = magic + bytes(4)
    merged = bytes(boot_loader).ljust(0x10000, b"\xff") + with_secure_version("esp32c3", 0)
    merged = merged.ljust(0x20000, b"\xff") + with_secure_version("esp32c3", 2)
    with chip(tmp_path, "esp32c3", {C3 + 0x3C: 0b11 << 14}) as identity:
        assert refusal(identity, bytes(boot_loader), 0) == ""
        assert refusal(identity, merged, 0) == ""


def test_a_c3_with_secure_boot_has_no_stub_and_is_written_read_and_started_all_the_same(tmp_path: Path):
    """Its ROM starts no program from RAM then (esptool, `run_stub`)."""
    options = {"efuses": {hex(C3 + 0x38): 1 << 20}}
    spec = BoardSpec.model_validate({"board_id": "c3", "chip": "esp32c3", "options": options})
    data, region = os.urandom(0x3000), Region(0x300000, 0x1800)
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench, limit(60, "the board"):
        session = drivers.load_driver("esp32c3").open(Link(bench.boards["c3"].url, 115200, 460800), lambda _line: None)
        assert session.connect().security
        assert session.read(region, lambda *_: None) == b"\xff" * region.size
        session.write([Segment(region.address, data)], lambda *_: None)
        assert session.holds(Segment(region.address, data))
        assert session.read(region, lambda *_: None) == data[: region.size]
        session.reset()
        said = b""
        while b"ready, mac=" not in said:
            said += session.read_console(5)
        session.close()


def test_every_chip_as_delivered_asks_for_nothing(tmp_path: Path):
    kinds = ("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32h2", "esp32p4", "esp8266")
    boards = tuple(BoardSpec(board_id=kind, chip=kind) for kind in kinds)
    with Bench.start(BenchSpec(state=tmp_path, boards=boards)) as bench:
        for kind in kinds:
            driver = drivers.load_driver(kind)
            session = driver.open(Link(bench.boards[kind].pty, 115200, 921600), lambda _line: None)
            assert session.connect().security == "", kind
            session.close()


def test_where_secure_version_is_espefuse_says_the_same():
    """Word, lowest bit and length of the field in the definitions that `espefuse` burns by."""
    import yaml

    from drivers.esp.security import _SECURE_VERSION

    (package,) = importlib.util.find_spec("espefuse").submodule_search_locations  # whose import warns of Click 9
    folder = Path(package) / "efuse_defs"
    for name, (offset, shift, bits) in _SECURE_VERSION.items():
        text = (folder / f"{name.lower().replace('-', '')}.yaml").read_text()
        field = yaml.safe_load(text)["EFUSES"]["SECURE_VERSION"]
        assert (0x2C + 4 * field["word"], field["pos"], field["len"]) == (offset, shift, bits), name


@pytest.mark.parametrize("efuses", [1, {"0x60007038": -1}, {"0x60007038": "1"}, {"there": 1}])
def test_efuses_that_there_are_not_are_refused_by_name(tmp_path: Path, efuses: object):
    spec = BoardSpec.model_validate({"board_id": "b", "chip": "esp32s3", "options": {"efuses": efuses}})
    with pytest.raises(BenchError, match="b: "):
        Bench.start(BenchSpec(state=tmp_path, boards=(spec,)))
