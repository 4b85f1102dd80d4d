"""HTTP with one board: httpx, set up for servers that are small and at one address.

No proxy of the environment, no redirects by themselves, a connection a request: a board has few. The name is resolved
by the session, once; requests go to that address under the name that the batch gave.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from drivers.base import DeviceError, NetworkFailed, PhaseTimeout, Progress
from drivers.net import Address
from drivers.ota.errors import AccessDenied, LinkLost, UntrustedServer

_LONGEST_PAGE = 0x10000  # bytes of an answer that are read; a board's page is far smaller
_CHUNK = 0x1000
_SEND_BUFFER = 0x4000  # bytes; the usual 200 KB and more would hold half an image, and "sent" would mean nothing
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Reply:
    """What a board answered."""

    status: int
    text: str
    location: str = ""
    challenges: str = ""  # of a 401, in lower case


@dataclass(frozen=True)
class Site:
    """Where the requests go: `ip` is the address that `address.host` had when the session began."""

    address: Address
    ip: str
    tls: bool = False
    ca_file: Path | None = None

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def host(self) -> str:
        """As it stands in `Host`: without the scheme's own port."""
        if self.address.port == _DEFAULT_PORTS[self.scheme]:
            return f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return str(self.address)

    def url(self, path: str) -> str:
        """For people: under the name that the batch gave."""
        return f"{self.scheme}://{self.host}{path}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True)
class Body:
    """Bytes to send, from the beginning each time. `on_last` is called before the last of them leave: what an aborted
    request has done hangs on that.
    """

    data: bytes
    progress: Progress
    on_last: Callable[[], None]

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self.data), _CHUNK):
            piece = self.data[at : at + _CHUNK]
            if at + len(piece) == len(self.data):
                self.on_last()
            yield piece
            self.progress(at + len(piece), len(self.data))


@dataclass
class Web:
    """Requests to one site. Raises only the errors that `translate` gives."""

    site: Site
    connect_timeout_s: float
    read_timeout_s: float
    auth: httpx.Auth | None = None
    _tls: ssl.SSLContext | None = field(default=None, init=False)

    def get(self, path: str, timeout_s: float | None = None) -> Reply:
        """A page; `timeout_s` where it must not take long."""
        return self._send(self._request("GET", path), f"GET {self.site.url(path)}", timeout_s)

    def post(self, path: str, body: Body, content_type: str, headers: dict[str, str]) -> Reply:
        """An upload."""
        request = self._request(
            "POST",
            path,
            {"Content-Type": content_type, "Content-Length": str(len(body.data)), **headers},
            content=body,
        )
        return self._send(request, f"POST {self.site.url(path)}", None)

    def _request(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: Body | None = None
    ) -> httpx.Request:
        ip = Address(self.site.ip, self.site.address.port)
        return httpx.Request(
            method,
            f"{self.site.scheme}://{ip}{path}",
            headers={"Host": self.site.host, "Connection": "close", **(headers or {})},
            content=content,
            extensions={"sni_hostname": self.site.address.host},
        )

    def _send(self, request: httpx.Request, doing: str, timeout_s: float | None) -> Reply:
        connect = timeout_s or self.connect_timeout_s
        read = timeout_s or self.read_timeout_s
        request.extensions["timeout"] = httpx.Timeout(read, connect=connect).as_dict()
        try:
            with httpx.Client(trust_env=False, transport=self._transport()) as client:
                response = client.send(request, auth=self.auth, stream=True)
                try:
                    return _reply(response)
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise translate(error, doing) from error

    def _transport(self) -> httpx.HTTPTransport:
        small_buffer = (socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        return httpx.HTTPTransport(verify=self._context(), trust_env=False, socket_options=[small_buffer])

    def _context(self) -> ssl.SSLContext | bool:
        if not self.site.tls:
            return False  # nothing is verified, since nothing is encrypted; loading the authorities takes 20 ms
        if self._tls is None:
            try:
                self._tls = ssl.create_default_context(cafile=self.site.ca_file)
            except OSError as error:
                raise UntrustedServer(f"the certificate authority's file {self.site.ca_file}: {error}") from error
        return self._tls


def _reply(response: httpx.Response) -> Reply:
    """The whole of the head and as much of the body as a page can have; a body that breaks off is as far as it came."""
    body = b""
    try:
        for piece in response.iter_bytes(_CHUNK):
            body += piece
            if len(body) >= _LONGEST_PAGE:
                break
    except (httpx.ReadError, httpx.RemoteProtocolError):  # it restarted while it answered
        if not body:
            raise
    return Reply(
        status=response.status_code,
        text=body[:_LONGEST_PAGE].decode("utf-8", "replace"),
        location=response.headers.get("location", ""),
        challenges=",".join(response.headers.get_list("www-authenticate")).lower(),
    )


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for httpx's."""
    return _kind(error)(f"{doing}: {error or type(error).__name__}")


def _kind(error: BaseException) -> type[DeviceError]:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return UntrustedServer
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return NetworkFailed
    if isinstance(error, httpx.TimeoutException):
        return PhaseTimeout
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return LinkLost
    return NetworkFailed


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def credentials(challenges: str, username: str, password: str) -> httpx.Auth:
    """What answers a 401: Digest where it is offered, since it does not show the password."""
    if "digest" in challenges:
        return httpx.DigestAuth(username, password)
    return httpx.BasicAuth(username, password)


def denied(doing: str, *, with_password: bool) -> AccessDenied:
    """The error for a 401 or 403."""
    if with_password:
        return AccessDenied(f"{doing}: the board does not accept this user name and password")
    return AccessDenied(
        f"{doing}: the board asks for a user name and a password",
        advice="Nothing was written. Give the options `username` and `password`.",
    )
