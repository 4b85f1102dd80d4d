"""Which of the files' values counts: built-in defaults < site < batch < its device type < target < command line.

Pure: takes models, touches nothing. A value counts as said where its key stands in the file, whatever it says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from drivers import device_types, load_driver
from drivers.base import Driver, TypeDefaults
from drivers.net import SCHEME
from drivers.virtual.spec import BoardSpec
from harness.batch import VIRTUAL_PORT, Batch, DeviceSettings, Expect, Strategy, Target, Virtual
from harness.config import DeviceTypeSettings, Site
from harness.retry import RetryPolicy
from harness.snapshot import DevicePlan, ExpectedIdentity, Limits, PlannedImage
from harness.tree import Loc

M = TypeVar("M", bound=BaseModel)
Name = tuple[str, ...]

BOOT_MARGIN_S = 15.0
"""Seconds that the boot phase may take beyond what `expect` and the options allow: the reset, and reading on."""
IDENTIFY_MARGIN_S = 5.0
"""Beyond the time in which a board must be reached: its driver says what is wrong, before the phase is over."""


@dataclass(frozen=True)
class Overrides:
    """What the command line says, over every file."""

    simulate: bool = False  # a virtual twin in the place of every target
    reflash: bool = False  # write images even where the board holds them already


ALIASES: dict[Name, tuple[Name, ...]] = {
    ("flash_settings", "timeout"): (("timeout",),),
    ("flash_settings", "max_concurrent"): (("max_concurrent",),),
    ("flash_settings", "max_retries"): (("error_handling", "max_retry_attempts"),),
    ("flash_settings", "backup_before_flash"): (("rollback_settings", "backup_before_flash"),),
    ("rollback_settings", "rollback_on_failure"): (("rollback_settings", "auto_rollback"), ("rollback_on_failure",)),
}
"""Settings that have other names too. Within one file all that are said must agree (`checks`)."""

_DEFAULTS = Site()


def said(model: BaseModel, name: Name) -> Any:
    """The value that a file gives to a name; None where it is silent."""
    value: Any = model
    for key in name:
        if not isinstance(value, BaseModel) or key not in value.model_fields_set:
            return None
        value = getattr(value, key)
    return value


def names_of(name: Name) -> tuple[Name, ...]:
    """A setting's name and its aliases."""
    return (name, *ALIASES.get(name, ()))


def setting(batch: Batch, site: Site, *name: str) -> Any:
    """The batch's value of a setting, else the site's, else the built-in one."""
    for file in (batch, site):
        for alias in names_of(name):
            value = said(file, alias)
            if value is not None:
                return value
    value = _DEFAULTS
    for key in name:
        value = getattr(value, key)
    return value


def overlay(model: type[M], *layers: BaseModel | None) -> M:
    """One flat model from several, the later winning key by key; a key counts only where it was said."""
    values = {
        key: getattr(layer, key)
        for layer in layers
        if layer is not None
        for key in model.model_fields
        if key in layer.model_fields_set and getattr(layer, key) is not None
    }
    return model.model_validate(values)


def device_type_of(batch: Batch, target: Target) -> str | None:
    return target.device_type or batch.device_type


def layers_of(batch: Batch, index: int) -> tuple[tuple[Loc, DeviceSettings], ...]:
    """Where settings of one target may stand, the nearest first."""
    target = batch.targets[index]
    device_type = device_type_of(batch, target) or ""
    layers: list[tuple[Loc, DeviceSettings]] = [(("targets", index), target)]
    if device_type in batch.device_types:
        layers.append((("device_types", device_type), batch.device_types[device_type]))
    return (*layers, ((), batch))


def nearest(batch: Batch, index: int, key: str) -> tuple[Loc, Any] | None:
    """Where a target's value of `key` is said nearest to it, and the value."""
    for loc, layer in layers_of(batch, index):
        value = said(layer, (key,))
        if value is not None:
            return (*loc, key), value
    return None


def type_settings(batch: Batch, site: Site, device_type: str) -> DeviceTypeSettings:
    """What holds for a device type."""
    return overlay(
        DeviceTypeSettings,
        _built_in(device_type),
        site.device_types.get(device_type),
        batch.device_types.get(device_type),
    )


def _built_in(device_type: str) -> DeviceTypeSettings | None:
    """What the type's driver says of it; None for a type without one, which `checks` names."""
    defaults = _defaults_of(device_type)
    values = {
        key: value
        for key, value in vars(defaults).items()
        if key in DeviceTypeSettings.model_fields and value is not None
    }
    return DeviceTypeSettings.model_validate(values)


def _defaults_of(device_type: str) -> TypeDefaults:
    return load_driver(device_type).defaults if device_type in device_types() else TypeDefaults()


def options_layers(batch: Batch, site: Site, index: int) -> tuple[tuple[bool, Loc, Mapping[str, JsonValue]], ...]:
    """Where `options` of one target stand, the nearest first: whether in the batch, the place, and what is said."""
    device_type = device_type_of(batch, batch.targets[index]) or ""
    found = [(True, (*loc, "options"), layer.options) for loc, layer in layers_of(batch, index)]
    by_site = site.device_types.get(device_type)
    found.append((False, ("device_types", device_type, "options"), by_site.options if by_site else None))
    return tuple((in_batch, loc, said) for in_batch, loc, said in found if said)


def merged_options(batch: Batch, site: Site, index: int) -> dict[str, JsonValue]:
    """The family's own settings for one target, key by key."""
    merged: dict[str, JsonValue] = {}
    for _in_batch, _loc, options in reversed(options_layers(batch, site, index)):
        merged |= options
    return merged


@dataclass(frozen=True)
class WantedImage:
    """A file that a target is to get. `address` is None where nothing says it; `loc` is where the file is named."""

    file: Path
    address: int | None
    loc: Loc


def wanted_images(batch: Batch, site: Site, index: int) -> tuple[WantedImage, ...]:
    """The files of one target: those of the nearest layer that names any; empty where none does."""
    device_type = device_type_of(batch, batch.targets[index]) or ""
    for loc, layer in layers_of(batch, index):
        if layer.firmware_file is not None:
            address = type_settings(batch, site, device_type).flash_address
            return (WantedImage(layer.firmware_file, address, (*loc, "firmware_file")),)
        if layer.images is not None:
            return tuple(
                WantedImage(image.file, image.address, (*loc, "images", position, "file"))
                for position, image in enumerate(layer.images)
            )
    return ()


def merged(batch: Batch, index: int, key: str, model: type[M]) -> M:
    """A section that may stand at every layer (`expect`, `virtual`), merged key by key."""
    return overlay(model, *(getattr(layer, key) for _loc, layer in reversed(layers_of(batch, index))))


def located(folder: Path, path: Path) -> Path:
    """A path of a file in `folder`, absolute, with `~` followed."""
    return Path(os.path.abspath(folder / os.path.expanduser(path)))  # noqa: PTH100, PTH111 — pathlib's raise for unknown users


def concurrency(batch: Batch, site: Site) -> int:
    if batch.strategy is Strategy.SEQUENTIAL:
        return 1
    return int(setting(batch, site, "flash_settings", "max_concurrent"))


def is_virtual(target: Target, overrides: Overrides) -> bool:
    return overrides.simulate or target.connection_info.port == VIRTUAL_PORT


@dataclass(frozen=True)
class Merger:
    """The files' models, from which each device's plan is made. `folder` is the batch file's."""

    batch: Batch
    site: Site
    overrides: Overrides
    folder: Path

    def device(
        self, index: int, images: tuple[PlannedImage, ...], version: str, previous: PlannedImage | None = None
    ) -> DevicePlan:
        """The plan of one target, whose device type is known, with the images and version that it gets."""
        target = self.batch.targets[index]
        device_type = device_type_of(self.batch, target) or ""
        chip = self.chip(index)
        expect = self._expect(index)
        virtual = is_virtual(target, self.overrides)
        connection = {"port": VIRTUAL_PORT} if virtual else self.connection(index)
        return DevicePlan(
            device_id=target.device_id,
            device_type=device_type,
            chip=chip,
            **connection,
            baudrate=target.connection_info.baudrate or self._serial("baudrate"),
            flash_baudrate=self._flash_baudrate(target, device_type),
            images=images,
            version=version,
            expect=expect,
            expected=_identity(target),
            limits=self._limits(index, expect),
            retry_policy=self._retry_policy(),
            backup=self._set("flash_settings", "backup_before_flash"),
            backup_scope=self._set("flash_settings", "backup_scope"),
            verify=self._set("flash_settings", "verify_after_flash"),
            rollback=self._set("rollback_settings", "rollback_on_failure"),
            reflash=self.overrides.reflash,
            tests=tuple(located(self.folder, path) for path in self._tests(index)),
            options=self._options(index, virtual=virtual),
            connect_timeout_s=self.site.performance.connection_timeout,
            read_timeout_s=self.site.performance.read_timeout,
            previous=previous,
            virtual=self._twin(index, chip, images) if virtual else None,
            check_compatibility=self._set("firmware_validation", "validate_before_flash")
            and self._set("firmware_validation", "check_compatibility"),
        )

    def chip(self, index: int) -> str:
        """The one that a target is expected to have."""
        target = self.batch.targets[index]
        device_type = device_type_of(self.batch, target) or ""
        return target.expected.chip or type_settings(self.batch, self.site, device_type).chip or device_type

    def connection(self, index: int) -> dict[str, str]:
        """Where the files say that a target is, in a plan's words."""
        said_of = self.batch.targets[index].connection_info
        if said_of.host is not None:
            port = said_of.port or self._driver(index).defaults.port or self.site.interfaces.network.port
            host = f"[{said_of.host}]" if ":" in said_of.host else said_of.host
            return {"port": f"{SCHEME}://{host}:{port}"}
        return {
            "port": str(said_of.port or ""),
            "mount_point": str(located(self.folder, said_of.mount_point)) if said_of.mount_point else "",
            "usb": said_of.usb or "",
        }

    def _expect(self, index: int) -> Expect:
        """Where no file says for how long, for as long as boards of the type need."""
        expect = merged(self.batch, index, "expect", Expect)
        start_s = self._driver(index).defaults.start_s
        if start_s is None or "version_within" in expect.model_fields_set:
            return expect
        return expect.model_copy(update={"version_within": start_s})

    def _options(self, index: int, *, virtual: bool) -> dict[str, JsonValue]:
        of_others = self._driver(index).options.of_real_boards if virtual else frozenset()
        said_of = merged_options(self.batch, self.site, index)
        return {name: value for name, value in said_of.items() if name not in of_others}

    def _driver(self, index: int) -> Driver:
        return load_driver(device_type_of(self.batch, self.batch.targets[index]) or "")

    def _set(self, *name: str) -> Any:
        return setting(self.batch, self.site, *name)

    def _serial(self, key: str) -> Any:
        return getattr(self.site.interfaces.serial, key)

    def _tests(self, index: int) -> tuple[Path, ...]:
        found = nearest(self.batch, index, "tests")
        return found[1] if found else ()

    def _flash_baudrate(self, target: Target, device_type: str) -> int:
        """The nearest of target and type; else the site's general rate, where the type's own is not a lower one."""
        files = overlay(
            DeviceTypeSettings, self.site.device_types.get(device_type), self.batch.device_types.get(device_type)
        )
        return target.connection_info.flash_baudrate or files.flash_baudrate or self._general_baudrate(device_type)

    def _rate_of_loader(self, index: int) -> int | None:
        """Where it has one rate, the twin's is the one that the batch believes in."""
        target = self.batch.targets[index]
        device_type = device_type_of(self.batch, target) or ""
        return self._flash_baudrate(target, device_type) if _defaults_of(device_type).rate_is_fixed else None

    def _general_baudrate(self, device_type: str) -> int:
        defaults = _defaults_of(device_type)
        general = said(self.site, ("interfaces", "serial", "flash_baudrate"))
        if defaults.rate_is_fixed:
            return int(defaults.flash_baudrate or self._serial("flash_baudrate"))
        return int(min(filter(None, (general, defaults.flash_baudrate)), default=self._serial("flash_baudrate")))

    def _limits(self, index: int, expect: Expect) -> Limits:
        said_near = nearest(self.batch, index, "timeout")
        # The batch's own `timeout` is an alias of flash_settings.timeout, which `setting` knows.
        device_s = said_near[1] if said_near else self._set("flash_settings", "timeout")

        start_s = self._reset_s(index) + expect.version_within + expect.settle

        def phase(key: str, default: float) -> float:
            return float(self._set("flash_settings", "phase_timeouts", key) or default)

        return Limits(
            device_s=device_s,
            lock_s=phase("lock", 0),
            identify_s=phase("identify", self._interface_timeout_s(index) + IDENTIFY_MARGIN_S),
            backup_s=phase("backup", device_s),
            flash_s=phase("flash", device_s),
            verify_s=phase("verify", device_s),
            boot_s=phase("boot", start_s + BOOT_MARGIN_S),
            test_s=phase("test", device_s),
            rollback_s=self._set("rollback_settings", "rollback_timeout"),
        )

    def _interface_timeout_s(self, index: int) -> float:
        return float(getattr(self.site.interfaces, self._driver(index).interface).timeout)

    def _reset_s(self, index: int) -> float:
        try:
            return self._driver(index).options.model_validate(self._options(index, virtual=False)).reset_s
        except ValidationError:  # which `family_checks` says
            return 0.0

    def _retry_policy(self) -> RetryPolicy:
        again = self._set("flash_settings", "max_retries") if self._set("error_handling", "auto_retry") else 0
        return RetryPolicy(
            attempts=again + 1,
            delay_s=self._set("error_handling", "retry_delay"),
            exponential=self._set("error_handling", "exponential_backoff"),
        )

    def _twin(self, index: int, chip: str, images: tuple[PlannedImage, ...]) -> BoardSpec:
        """The virtual board: who the batch expects, unless `virtual` says that another is to answer."""
        target = self.batch.targets[index]
        virtual = merged(self.batch, index, "virtual", Virtual)
        keep = target.connection_info.port == VIRTUAL_PORT if virtual.keep is None else virtual.keep
        return BoardSpec(
            board_id=target.device_id,
            chip=virtual.chip or chip,
            mac=virtual.mac or target.expected.mac,
            serial=target.expected.serial,
            flash_size=virtual.flash_size or target.expected.flash_size or _roomy(self._driver(index), images),
            speed=virtual.speed,
            flash_baudrate=self._rate_of_loader(index),
            faults=virtual.faults,
            factory=located(self.folder, virtual.factory) if virtual.factory else None,
            keep=keep,
            options={**self._options(index, virtual=True), **(virtual.options or {})},
            **self._kinds_of_connection(index),
        )

    def _kinds_of_connection(self, index: int) -> dict[str, str]:
        """What the target names, so that its twin can be reached in the same ways."""
        said_of = self.batch.targets[index].connection_info
        return {} if said_of.port == VIRTUAL_PORT else self.connection(index)


def _identity(target: Target) -> ExpectedIdentity:
    expected = target.expected
    return ExpectedIdentity(
        serial=expected.mac or expected.serial, flash_size=expected.flash_size, revision=expected.revision
    )


def _roomy(driver: Driver, images: tuple[PlannedImage, ...]) -> int | None:
    """A flash that holds the images: a power of two; None where the usual one does, or where a chip has but one."""
    end = max((image.end for image in images), default=0) - driver.defaults.flash_base
    usual = driver.defaults.usual_flash
    return None if usual is None or end <= usual else 1 << (end - 1).bit_length()
