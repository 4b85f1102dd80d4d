"""The sections of the files that say how a fleet is rolled out, and when the rollout is stopped."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from harness.fields import Percent, Seconds, Section, Unit

_WAVE = re.compile(r"^[1-9][0-9]*$|^(?:100(?:\.0+)?|[1-9]?[0-9](?:\.[0-9]+)?)%$")


def _wave(value: Any) -> str:
    text = str(value)
    if isinstance(value, (bool, float)) or not _WAVE.match(text) or not text.strip("0.%"):
        raise PydanticCustomError("wave", "expected a number of devices such as 5, or a share of the batch such as 10%")
    return text


WaveEntry = Annotated[
    str,
    BeforeValidator(_wave),
    Unit("devices or percent"),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": _WAVE.pattern}]}),
]
"""The size of a wave, as text: `5` or `10%`."""


class Canary(Section):
    """Stops a wave when its failures can not be chance any more."""

    max_failure_rate: Percent = Field(description="The failure rate that is allowed.")
    confidence: Annotated[float, Field(ge=50, lt=100), Unit("percent")] = Field(
        default=95, description="How sure it must be that the true rate is above that one."
    )


class QualityGates(Section):
    """What must hold of each wave and of the batch. A gate that fails halts the rollout and takes it back."""

    min_success_rate: Percent | None = Field(default=None, description="So many of the devices must succeed.")
    max_failure_rate: Percent | None = Field(default=None, description="No more of the devices may fail.")
    require_verification: bool = Field(
        default=False, description="Every updated board's flash must have been compared with the images."
    )
    stop_on_failure_threshold: bool = Field(
        default=False,
        description="Start nothing more once a gate is certain to fail, also where there is only one wave.",
    )
    canary: Canary | None = Field(default=None, description="A statistical gate for small waves.")


class PerformanceThresholds(Section):
    """Each is a gate over the time that single devices take."""

    max_flash_time: Seconds | None = Field(default=None, description="No device may take longer to write.")
    min_flash_time: Seconds | None = Field(
        default=None, description="None that is written may take less: it would not have been written."
    )
    max_verification_time: Seconds | None = Field(default=None, description="No device may take longer to verify.")


class GroupSettings(Section):
    """Devices that share something: a hub's power supply, a rack, a host."""

    max_concurrent: int | None = Field(default=None, ge=1, description="So many of them at the same time.")
    ports: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Its ports, hosts or mount points, as patterns such as /dev/serial/by-path/*-usb-0:1.* or "
        "rfc2217://rack-2:*. Devices may also name their `groups`.",
    )
