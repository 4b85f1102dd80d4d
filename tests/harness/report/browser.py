"""Debian's headless Chromium, to look at a page as a person does. It never downloads a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_NEEDED = ("chromium", "chromedriver")
_INSTALL = "sudo apt-get install --no-install-recommends chromium chromium-driver"
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # Chromium's own sandbox does not start as root, as in a container; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1000",
)


@contextmanager
def chromium(profile: Path, *options: str) -> Iterator[webdriver.Chrome]:
    paths = [shutil.which(program) for program in _NEEDED]
    if None in paths:
        pytest.fail(f"these tests look at the report in Chromium: {_INSTALL}")
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = str(paths[0])
    for option in (*_OPTIONS, f"--user-data-dir={profile}", *options):
        chosen.add_argument(option)
    browser = webdriver.Chrome(chosen, Service(str(paths[1])))
    try:
        yield browser
    finally:
        browser.quit()
