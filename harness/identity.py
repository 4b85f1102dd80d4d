"""Whether the board on the port is the one that the batch means, and one that its images are for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drivers.base import BadImage, Driver, Identity, JudgesImages, Segment, WrongBoard
from harness.snapshot import DevicePlan


def check(plan: DevicePlan, driver: Driver, identity: Identity, before: Identity | None) -> None:
    """Raise `WrongBoard` naming every difference; `before` is who answered earlier in this run, if anybody did."""
    differences = list(_differences(plan, driver, identity, before))
    if differences:
        raise WrongBoard(f"not the board that the batch means: {'; '.join(differences)}")


def check_images(images: Sequence[Segment], driver: Driver, identity: Identity) -> None:
    """Raise `BadImage` where the board would not start one of them, although it is of the right chip."""
    refusals = [driver.refusal(image, identity) for image in images] if isinstance(driver, JudgesImages) else []
    if any(refusals):
        raise BadImage("; ".join(filter(None, refusals)))


def _differences(plan: DevicePlan, driver: Driver, identity: Identity, before: Identity | None) -> Iterator[str]:
    expected = plan.expected
    if not driver.matches(plan.chip, identity):
        yield f"the chip is {identity.chip}, expected {plan.chip}"
    if expected.serial is not None and expected.serial.lower() != identity.serial.lower():
        yield f"its MAC or serial is {identity.serial}, expected {expected.serial}"
    if expected.revision is not None and expected.revision != identity.revision:
        yield f"its revision is {identity.revision or 'unknown'}, expected {expected.revision}"
    if expected.flash_size is not None and expected.flash_size != identity.flash_size:
        size = f"has {identity.flash_size} bytes" if identity.flash_size else "is of unknown size"
        yield f"its flash {size}, expected {expected.flash_size}"
    writable = identity.writable
    for image in plan.images if identity.flash_size else ():
        if image.address < writable.address:
            yield f"{image.path.name} begins at {image.address:#x}, its flash at {writable.address:#x}"
        if image.end > writable.end:
            yield f"{image.path.name} ends at {image.end:#x}, {_end(identity)} at {writable.end:#x}"
    if before is not None and before != identity:
        yield f"another board answered before on this port ({before.chip}, {before.serial})"


def _end(identity: Identity) -> str:
    return "its boot loader begins" if identity.reserved else "its flash"
