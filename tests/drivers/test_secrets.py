"""Secrets come from the environment or from a closed file, and no message ever shows one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.net import Address
from drivers.secrets import Secret, SecretUnavailable


def test_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTA_PASSWORD", "hunter2")
    assert Secret(env="OTA_PASSWORD").value() == "hunter2"
    monkeypatch.delenv("OTA_PASSWORD")
    with pytest.raises(SecretUnavailable, match="OTA_PASSWORD is not set"):
        Secret(env="OTA_PASSWORD").value()


def test_a_secret_of_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text("lab: hunter2\n")
    path.chmod(0o600)
    assert Secret(file=path, key="lab").value() == "hunter2"
    path.chmod(0o644)
    with pytest.raises(SecretUnavailable, match="can be read by others") as caught:
        Secret(file=path, key="lab").value()
    assert f"chmod 600 {path}" in caught.value.advice


@pytest.mark.parametrize("text", ["lab: [hunter2]", "other: hunter2", "hunter2", "lab: 'hunter2", "\x00hunter2", ""])
def test_a_secrets_file_without_it_is_one_error_that_does_not_show_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SecretUnavailable) as caught:
        Secret(file=path, key="lab").value()
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("where", [{}, {"env": "A", "file": "b", "key": "c"}, {"file": "b"}, {"env": "A", "key": "c"}])
def test_a_secret_is_in_exactly_one_place(where: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="either `env`, or `file` and `key`"):
        Secret.model_validate(where)


@given(
    st.one_of(st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z0-9]", fullmatch=True), st.ip_addresses()), st.integers(1, 65535)
)
def test_an_address_survives_being_written_down(host, port: int) -> None:
    address = Address(str(host), port)
    assert Address.of(address.url) == address


@pytest.mark.parametrize(
    "url", ["net://host", "host:80", "tcp://host:80", "net://:80", "net://host:99999", "net://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.of(url)
