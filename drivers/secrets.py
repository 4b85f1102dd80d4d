"""Passwords and keys, which never stand in a batch: where they are is what the batch says.

Under a driver's `options`:

    password: {env: OTA_PASSWORD}                  an environment variable
    password: {file: ~/ota-secrets.yaml, key: lab}  an entry of a YAML file that only its owner can read
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.base import DeviceError


class SecretUnavailable(DeviceError):
    default_advice = "Nothing was written. Set it in the environment that pytest runs in, or mend the secrets file."


class Secret(BaseModel):
    """A reference to a secret. Only `value` has the secret itself; it is asked for as late as can be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = Field(default=None, min_length=1, description="The environment variable that holds it.")
    file: Path | None = Field(default=None, description="A YAML file that holds it.")
    key: str | None = Field(default=None, min_length=1, description="Its key in the file.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None) or (self.file is None) != (self.key is None):
            raise ValueError("give either `env`, or `file` and `key`")
        return self

    def value(self) -> str:
        """Raises `SecretUnavailable`, whose message never contains a secret."""
        if self.env is not None:
            try:
                return os.environ[self.env]
            except KeyError:
                raise SecretUnavailable(f"the environment variable {self.env} is not set") from None
        assert self.file is not None
        assert self.key is not None
        return _of_file(self.file.expanduser(), self.key)


def _of_file(path: Path, key: str) -> str:
    try:
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise SecretUnavailable(
                f"{path} can be read by others", advice=f"Nothing was written. Close it first: chmod 600 {path}"
            )
        entries = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnavailable(f"the secrets file {path} can not be read: {error}") from error
    except yaml.YAMLError:
        # not chained: YAML's errors quote the lines that they stumble over
        raise SecretUnavailable(f"the secrets file {path} is not YAML") from None
    if not isinstance(entries, dict) or not isinstance(entries.get(key), str):
        raise SecretUnavailable(f"the secrets file {path} has no text under {key!r}")
    return str(entries[key])
