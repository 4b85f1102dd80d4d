"""What a port is, by whatever name it is called: for locks, and to see that two targets have the same one."""

from __future__ import annotations

import os
from urllib.parse import urlsplit


def resolved_port(port: str) -> str:
    """What a port really is: symlinks followed, a URL reduced to host:port.

    Raises `ValueError` for what is no URL although it looks like one (`rfc2217://host:port`, literally).
    """
    if "://" in port:
        url = urlsplit(port)
        return f"{url.hostname}:{url.port}" if url.port else f"{url.netloc}{url.path}"
    return os.path.realpath(port)
