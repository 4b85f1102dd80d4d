"""What an Espressif image says of itself, and whether a chip's boot loader would take it.

Formats: ESP-IDF "App Image Format" (`esp_image_header_t`, segments, checksum, appended SHA-256,
`esp_app_desc_t`); the file is parsed by esptool's own `bin_image`.
"""

from __future__ import annotations

import struct
from typing import Any

from drivers.base import BadImage, Identity, ImageFacts, Segment
from drivers.esp import security
from drivers.esp.log import attach, esptool, no_log

IMAGE_MAGICS = frozenset({0xE9, 0xEA})  # ESP_IMAGE_HEADER_MAGIC; the ESP8266's "v2" images begin with 0xEA
_NVS_STATE = b"\xff\xff\xff"  # behind the first byte: an NVS page begins with its state, 0xFFFFFFFE and the like
_DESCRIPTION_MAGIC = struct.pack("<I", 0xABCD5432)  # esp_app_desc_t.magic_word
_FIRST_BYTES = 32  # behind both headers: where ESP-IDF's boot loader looks for the description, and nowhere else
_DESCRIPTION_SIZE = 256  # magic, secure_version, 8 reserved, version[32], project_name[32], …
_REVISIONS_AT, _REVISIONS = 14, struct.Struct("<BHH")  # esp_image_header_t: min_chip_rev, min_ and max_chip_rev_full
_NO_LIMIT = 0xFFFF
_VERSION_OFFSET, _PROJECT_OFFSET, _TEXT_SIZE = 16, 48, 32
_SECURE_VERSION_OFFSET, _SECURE_VERSION = 4, struct.Struct("<I")


def is_image(data: bytes) -> bool:
    """Whether the bytes begin as a bootable image does (a partition table or a file system does not)."""
    return bool(data) and data[0] in IMAGE_MAGICS


def inspect(segment: Segment, chip: str) -> ImageFacts:
    """Facts of an image for `chip` ("esp32", "esp8266" …); empty facts for what is not a bootable image.

    Raises `BadImage` where the ROM or the second-stage boot loader would refuse it: truncated, wrong checksum or
    digest, made for another chip.
    """
    if not is_image(segment.data):
        return ImageFacts()
    name = _name(segment)
    image = _whole_image(segment.data, chip, name)
    _check_chip(image, chip, name)
    description = find_description(segment.data)
    if description is None:
        return ImageFacts(chip=chip)
    version, project = description
    return ImageFacts(chip=chip, project=project, version=version)


def refusal(segment: Segment, identity: Identity) -> str:
    """Why this very chip would not start the image; empty where it would, for what is no image, and for an ESP8266."""
    data = segment.data
    if not identity.revision or not is_image(data) or len(data) < _REVISIONS_AT + _REVISIONS.size:
        return ""
    of_revision = _refusal_of_revision(segment, identity.chip, identity.revision)
    if of_revision or not identity.security:
        return of_revision
    why = security.refusal(data, segment.address, _secure_version(data), security.Demands.from_text(identity.security))
    return f"{_name(segment)}: {why}" if why else ""


def _secure_version(data: bytes) -> int | None:
    """Of an application. A boot loader with anti-rollback has the magic word, too, as a number that it compares with;
    in a merged image the first description need not be that of the application which is started.
    """
    description = data[_FIRST_BYTES : _FIRST_BYTES + _DESCRIPTION_SIZE]
    if len(description) < _DESCRIPTION_SIZE or not description.startswith(_DESCRIPTION_MAGIC):
        return None
    return int(_SECURE_VERSION.unpack_from(description, _SECURE_VERSION_OFFSET)[0])


def _refusal_of_revision(segment: Segment, chip: str, revision: str) -> str:
    """As esptool judges it, of a revision as "v3.1". An image from before ESP-IDF 4.4.3 has a lowest one only: of the
    C3 the minor number, of the others the major one.
    """
    major, minor = (int(number) for number in revision.removeprefix("v").split("."))
    old_lowest, lowest, highest = _REVISIONS.unpack_from(segment.data, _REVISIONS_AT)
    if highest == 0 or (highest == _NO_LIMIT and lowest == 0):
        found = minor if chip == "esp32c3" else major
        needed = f"{old_lowest} or higher" if found < old_lowest else ""
    elif highest == _NO_LIMIT:
        needed = f"{_revision(lowest)} or higher" if 100 * major + minor < lowest else ""
    else:
        fits = lowest <= 100 * major + minor <= highest
        needed = "" if fits else f"from {_revision(lowest)} to {_revision(highest)}"
    return f"{_name(segment)} needs a chip of revision {needed}, this one is {revision}" if needed else ""


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"


def check_place(segment: Segment, chip: str, app_address: int | None) -> None:
    """The ROM starts what lies at the boot loader's place, that one the application (usually at `app_address`).

    Raises `BadImage` where anything but an image goes to one of the two: firmware of another family, an Intel HEX file.
    An NVS partition may lie in the application's usual place: ESP-Matter and RainMaker start theirs at 0x20000.
    """
    boot_loader: int = esptool.targets.CHIP_DEFS[chip].BOOTLOADER_FLASH_OFFSET
    if segment.address == app_address and segment.data[1:4] == _NVS_STATE:
        return
    if segment.address in (boot_loader, app_address) and not is_image(segment.data):
        begins = segment.data[:1].hex()
        raise BadImage(
            f"{_name(segment)}: no firmware for {chip}: it begins with {begins}, where an image has e9",
            advice="give the application's .bin; a merged image goes to 0x0 (flash_address)",
        )


def find_description(data: bytes) -> tuple[str, str] | None:
    """(version, project) of the `esp_app_desc_t` near the image's beginning.

    ESP-IDF links it first into the first segment; the ESP8266 RTOS SDK puts it at the beginning of the flash-mapped
    segment, hence a search over word boundaries rather than a fixed offset.
    """
    at = data.find(_DESCRIPTION_MAGIC)
    while at != -1:
        if at % 4 == 0 and len(data) - at >= _DESCRIPTION_SIZE:
            return _text(data, at + _VERSION_OFFSET), _text(data, at + _PROJECT_OFFSET)
        at = data.find(_DESCRIPTION_MAGIC, at + 1)
    return None


def _text(data: bytes, at: int) -> str:
    return data[at : at + _TEXT_SIZE].split(b"\0", 1)[0].decode("utf-8", "replace")


def _name(segment: Segment) -> str:
    return segment.name or f"image at {segment.address:#x}"


def _whole_image(data: bytes, chip: str, name: str) -> Any:
    try:
        return _checked(data, chip, name)
    except BadImage as error:
        if _is_of_other_layout(data, chip, name):
            made_for = "a chip of the ESP32 family" if chip == "esp8266" else "esp8266"
            raise BadImage(f"{name}: made for {made_for}, not for {chip}") from error
        raise


def _is_of_other_layout(data: bytes, chip: str, name: str) -> bool:
    """The ESP8266's images have a shorter header and no chip id: read as another chip's, they seem to be damaged."""
    try:
        _checked(data, "esp32" if chip == "esp8266" else "esp8266", name)
    except BadImage:
        return False
    return True


def _checked(data: bytes, chip: str, name: str) -> Any:
    image = _parse(data, chip, name)
    _check_sums(image, name)
    return image


def _parse(data: bytes, chip: str, name: str) -> Any:
    attach(no_log)
    try:
        return esptool.bin_image.LoadFirmwareImage(chip, data)
    except (esptool.FatalError, struct.error, IndexError, TypeError, ValueError) as error:
        # bin_image parses without bounds checks: a cut file shows as any of these
        raise BadImage(f"{name}: not a whole image for {chip}: {error}") from error


def _check_sums(image: Any, name: str) -> None:
    if image.checksum != image.calculate_checksum():
        raise BadImage(f"{name}: the image's checksum is wrong (file damaged or cut)")
    if getattr(image, "append_digest", False) and image.stored_digest != image.calc_digest:
        raise BadImage(f"{name}: the image's SHA-256 digest is wrong (file damaged or cut)")


def _check_chip(image: Any, chip: str, name: str) -> None:
    chip_id = getattr(image, "chip_id", None)
    wanted = getattr(getattr(image, "ROM_LOADER", None), "IMAGE_CHIP_ID", None)
    if chip_id is not None and wanted is not None and chip_id != wanted:
        raise BadImage(f"{name}: made for {_chip_name(chip_id)}, not for {chip}")


def _chip_name(chip_id: int) -> str:
    names = [name for name, rom in esptool.targets.CHIP_DEFS.items() if chip_id == rom.IMAGE_CHIP_ID]
    return names[0] if names else f"an unknown chip (id {chip_id})"
