"""What each target is to get: its images read, and held against its type, its flash and the version asked for."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from drivers import device_types, load_driver
from drivers.base import BadImage, DeviceError, Driver, Identity, ImageFacts, KnowsChips
from harness.batch import Virtual
from harness.config import DeviceTypeSettings
from harness.firmware import Contents, Shelf, UnusableFile, overlaps
from harness.merge import (
    WantedImage,
    device_type_of,
    is_virtual,
    located,
    merged,
    merged_options,
    nearest,
    setting,
    type_settings,
    wanted_images,
)
from harness.opened import Opened
from harness.problems import Problem
from harness.snapshot import DevicePlan, PlannedImage
from harness.tree import Loc


class Payloads:
    """Makes the plan of one device after the other, collecting what is wrong with their firmware in `problems`."""

    def __init__(self, opened: Opened) -> None:
        self.problems: list[Problem] = []
        self._opened = opened
        self._shelf = Shelf()
        validate = self._setting("validate_before_flash")
        self._check_size = validate and self._setting("check_file_size")
        self._check_fit = validate and self._setting("check_compatibility")

    def _setting(self, key: str) -> bool:
        return bool(setting(self._opened.batch, self._opened.site, "firmware_validation", key))

    def device(self, index: int) -> DevicePlan | None:
        """The plan of one target; None where something about it is wrong, which is a problem here or elsewhere."""
        opened = self._opened
        device_type = device_type_of(opened.batch, opened.batch.targets[index])
        wanted = wanted_images(opened.batch, opened.site, index)
        if device_type not in device_types() or not wanted:
            return None
        settings = type_settings(opened.batch, opened.site, device_type)
        images = [self._image(index, one, device_type, settings) for one in wanted]
        planned = tuple(image for image in images if image is not None)
        if len(planned) < len(wanted):
            return None
        self._check_places(index, wanted, planned, load_driver(device_type))
        version = self._version(index, wanted, planned)
        previous = self._previous(index, device_type, settings)
        return None if version is None else opened.merger.device(index, planned, version, previous)

    def _previous(self, index: int, device_type: str, settings: DeviceTypeSettings) -> PlannedImage | None:
        """What the batch says that the board runs now, which matters only where it can not be read back."""
        found = nearest(self._opened.batch, index, "previous_firmware")
        if found is None or load_driver(device_type).capabilities.can_read_back:
            return None
        loc, file = found
        return self._image(index, WantedImage(file, settings.flash_address, loc), device_type, settings)

    def _report(self, loc: Loc, message: str, hint: str = "") -> None:
        self.problems.append(self._opened.source.problem(loc, message, hint))

    def _refuse(self, loc: Loc, error: BadImage) -> None:
        self._report(loc, error.message, error.advice if error.advice != BadImage.default_advice else "")

    def _image(
        self, index: int, wanted: WantedImage, device_type: str, settings: DeviceTypeSettings
    ) -> PlannedImage | None:
        path = located(self._opened.merger.folder, wanted.file)
        try:
            file = self._shelf.file(path)
            contents = self._shelf.contents(path, wanted.address, device_type)
        except UnusableFile as error:
            self._report(wanted.loc, f"{path} {error}", _about_path(str(wanted.file)))
            return None
        except BadImage as error:
            self._refuse(wanted.loc, error)
            return None
        self._check_limit(wanted, contents, device_type, settings)
        if self._check_fit and contents.refused:
            self._refuse(wanted.loc, contents.refused)
            return None
        self._check_chip(index, wanted, contents.facts, device_type)
        region = contents.region
        return PlannedImage(
            path=path,
            address=region.address,
            size=region.size,
            sha256=file.sha256,
            given_address=wanted.address,
            **vars(contents.facts),
        )

    def _check_limit(
        self, wanted: WantedImage, contents: Contents, device_type: str, settings: DeviceTypeSettings
    ) -> None:
        limit = settings.max_firmware_size
        size = sum(len(segment.data) for segment in contents.segments)
        if self._check_size and limit is not None and size > limit:
            message = f"{wanted.file.name} has {size} bytes, more than the {limit} that {device_type} may have"
            self._report(wanted.loc, message, f"see device_types.{device_type}.max_firmware_size")

    def _check_chip(self, index: int, wanted: WantedImage, facts: ImageFacts, device_type: str) -> None:
        if not self._check_fit or not facts.chip:
            return
        chip, driver = self._opened.merger.chip(index), load_driver(device_type)
        # Of the other families a type's own name need not be a chip's: boards behind one updater are of many kinds.
        says_so = chip != device_type or isinstance(driver, KnowsChips)
        if says_so and not driver.matches(chip, Identity(facts.chip, "", "", 0)):
            device_id = self._opened.batch.targets[index].device_id
            self._report(wanted.loc, f"{wanted.file.name} is made for {facts.chip}, but {device_id} has a {chip}")

    def _check_room(self, index: int, one: WantedImage, image: PlannedImage, driver: Driver) -> None:
        """Before the run, where the chip's name tells it; the board that answers is asked again."""
        merger = self._opened.merger
        if not self._check_fit or not isinstance(driver, KnowsChips):
            return
        chip = merger.chip(index)
        try:
            said = driver.options.model_validate(merged_options(self._opened.batch, self._opened.site, index))
            room = driver.room(chip, said)
        except (ValidationError, DeviceError):
            return  # `family_checks` says so
        if room is not None and image.end > room.end:
            device_id = self._opened.batch.targets[index].device_id
            places = f"{image.path.name} ends at {image.end:#x}, the flash that it may use on {device_id} ({chip})"
            self._report(one.loc, f"{places} at {room.end:#x}")

    def _check_places(
        self, index: int, wanted: Sequence[WantedImage], images: Sequence[PlannedImage], driver: Driver
    ) -> None:
        for position, how in overlaps(images, driver.erase_block):
            self._report(wanted[position].loc, how)
        for one, image in zip(wanted, images, strict=True):
            self._check_room(index, one, image, driver)
        size = self._flash_size(index)
        if size is None:
            return
        end = driver.defaults.flash_base + size
        for one, image in zip(wanted, images, strict=True):
            if image.end > end:
                device_id = self._opened.batch.targets[index].device_id
                self._report(one.loc, f"{image.path.name} ends at {image.end:#x}, the flash of {device_id} at {end:#x}")

    def _flash_size(self, index: int) -> int | None:
        """The size of a target's flash, where the batch says it."""
        opened = self._opened
        target = opened.batch.targets[index]
        if is_virtual(target, opened.merger.overrides):
            virtual = merged(opened.batch, index, "virtual", Virtual)
            return virtual.flash_size or target.expected.flash_size
        return target.expected.flash_size

    def _version(self, index: int, wanted: Sequence[WantedImage], images: Sequence[PlannedImage]) -> str | None:
        """The version that the batch asks for, else the one that the images agree on."""
        held = tuple(dict.fromkeys(image.version for image in images if image.version is not None))
        asked = nearest(self._opened.batch, index, "version")
        if asked is None:
            return self._version_of_images(wanted, held)
        loc, version = asked
        if self._check_fit and held and version not in held:
            names = " and ".join(f"{image.path.name} is {image.version}" for image in images if image.version)
            self._report(loc, f"says {version}, but {names}")
        return str(version)

    def _version_of_images(self, wanted: Sequence[WantedImage], held: Sequence[str]) -> str | None:
        if len(held) == 1:
            return held[0]
        if "version" not in self._opened.source.lost:
            why = f"the images say {' and '.join(held)}" if held else f"{wanted[0].file.name} does not say one"
            self._report((), "'version' is missing", f"{why}: give the version that the firmware reports")
        return None


def _about_path(file: str) -> str:
    """In double quotes, YAML takes the backslashes of a path for escapes, so that they need not be there any more."""
    is_of_windows = "\\" in file or file[1:2] == ":" or not file.isprintable()
    return "paths are those of this machine, with forward slashes: ../firmware/app.bin" if is_of_windows else ""
