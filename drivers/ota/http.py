"""Boards that are updated through a web page of their own: the image is uploaded as a browser's form does it.

What differs from one updater to the next is in updaters.py; HTTP itself is httpx's (web.py).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, model_validator

from drivers.base import (
    DeviceError,
    Link,
    Log,
    Progress,
    Segment,
    TypeDefaults,
)
from drivers.net import Address
from drivers.ota.driver import UpdateDriver
from drivers.ota.errors import NoUpdater, UnknownAnswer, quoted, refusal
from drivers.ota.session import (
    PAGE_TIMEOUT_S,
    START_S,
    UPDATED_BY_NETWORK,
    USUAL_SLOT,
    StatusOptions,
    UpdateSession,
    UrlPath,
)
from drivers.ota.updaters import UPDATERS, UpdaterName, judge
from drivers.ota.web import Body, Reply, Site, Web, credentials, denied
from drivers.secrets import Secret

_FILE_NAME = "firmware.bin"
_NO_PAGE = frozenset({404, 405})


class HttpOptions(StatusOptions):
    """What may stand under `options` of a target that is updated through its web page."""

    updater: UpdaterName = Field(default=UpdaterName.ESP32, description="Which updater the board runs.")
    path: UrlPath | None = Field(default=None, description="Path of the upload. Left out: the updater's usual one.")
    field: str | None = Field(
        default=None, min_length=1, description="The form's name for the file. Left out: the updater's usual one."
    )
    md5: bool | None = Field(
        default=None,
        description="True: the board compares the image's MD5. Left out: it is sent where the updater takes one.",
    )
    username: str = Field(default="", description="The user name that the page asks for.")
    password: Secret | None = Field(default=None, description="Where its password is.")
    tls: bool = Field(default=False, description="HTTPS; the board's certificate is verified.")
    ca_file: Path | None = Field(
        default=None, description="PEM of the authority that signed it. Left out: those of the system."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.username) != (self.password is not None):
            raise ValueError("`username` and `password` belong together")
        if self.ca_file is not None and not self.tls:
            raise ValueError("`ca_file` is of no use without `tls: true`")
        return self


class HttpSession(UpdateSession):
    """See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, options: HttpOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._settings = options
        self._updater = UPDATERS[options.updater]
        self._password = SecretStr(options.password.value()) if options.password else None
        self._client: Web | None = None
        self._auth: httpx.Auth | None = None

    @property
    def _http(self) -> Web:
        if self._client is None:
            self._client = self._status_web(self._address)
        return self._client

    def _status_web(self, address: Address) -> Web:
        site = Site(address, self._ip, self._settings.tls, self._settings.ca_file)
        return Web(site, self._link.connect_timeout_s, self._link.read_timeout_s, self._auth)

    def _use(self, auth: httpx.Auth) -> None:
        self._auth = auth
        for web in (self._http, self._web):
            if web is not None:
                web.auth = auth

    def _probe(self) -> None:
        """Look at the updater's page: it shows that the password is right, and changes nothing."""
        page = self._settings.path if self._settings.path and self._updater.page == self._updater.path else None
        reply = self._ask(page or self._updater.page)
        if reply.status in _NO_PAGE:
            self._log(f"no page at {page or self._updater.page} (HTTP {reply.status}); the upload will show")
            return
        self._check_status(reply, page or self._updater.page)

    def _ask(self, path: str) -> Reply:
        return self._get(self._http, path, None)

    def _get(self, web: Web, path: str, timeout_s: float | None) -> Reply:
        reply = web.get(path, timeout_s)
        if reply.status == 401 and self._learn_to_answer(reply):
            reply = web.get(path, timeout_s)
        return reply

    def _learn_to_answer(self, reply: Reply) -> bool:
        """Whether the request is worth repeating: with the password, in the way that was asked for."""
        if self._password is None or self._auth is not None:
            return False
        self._use(credentials(reply.challenges, self._settings.username, self._password.get_secret_value()))
        return True

    def _check_status(self, reply: Reply, path: str) -> None:
        where = self._http.site.url(path)
        if reply.status in (401, 403):
            raise denied(where, with_password=self._password is not None)
        if 300 <= reply.status < 400:
            raise NoUpdater(
                f"{where} redirects to {quoted(reply.location)}",
                advice="Nothing was written. Redirects are not followed: give the options `path` and `tls`, "
                "and the port, of where the updater is.",
            )
        if reply.status >= 400:
            raise NoUpdater(f"{where} answers with HTTP {reply.status}: {quoted(reply.text)}")

    def _send(self, segment: Segment, progress: Progress) -> None:
        digest = md5(segment.data, usedforsecurity=False).hexdigest() if self._settings.md5 is not False else None
        self._begin(digest)
        path = self._settings.path or self._updater.path
        form = self._form(segment.data, digest)
        body = Body(form.read(), progress, self._sent)
        reply = self._post(path, body, form.headers["Content-Type"])
        self._judge(reply, path)

    def _begin(self, digest: str | None) -> None:
        """Where the updater is told beforehand."""
        if self._updater.start is None:
            return
        start = self._updater.start if digest else self._updater.start.replace("&hash={md5}", "")
        path = start.format(md5=digest)
        reply = self._ask(path)
        if reply.status == 400:
            raise refusal(reply.text)
        self._check_status(reply, path)

    def _form(self, image: bytes, digest: str | None) -> httpx.Request:
        """The form as httpx encodes it: the fields first, as the updaters want them."""
        name = self._updater.md5_field or ("md5" if self._settings.md5 and self._updater.start is None else None)
        fields = {name: digest} if name and digest else {}
        files = {self._settings.field or self._updater.field: (_FILE_NAME, image, "application/octet-stream")}
        return httpx.Request("POST", "http://board/", data=fields, files=files)

    def _post(self, path: str, body: Body, content_type: str) -> Reply:
        headers = {"Origin": self._http.site.origin} if self._updater.wants_origin else {}
        reply = self._http.post(path, body, content_type, headers)
        if reply.status == 401 and self._learn_to_answer(reply):
            reply = self._http.post(path, body, content_type, headers)
        return reply

    def _judge(self, reply: Reply, path: str) -> None:
        """Raises what the answer says, unless the update was taken."""
        if reply.status in (302, 303) and self._is_ours(reply.location):
            # "see there" for the outcome, as forms of one's own making do
            reply = self._http.get(urlsplit(reply.location).path or "/")
        verdict = judge(self._updater, reply.status, reply.text)
        if verdict.taken:
            self._log(f"the board says: {quoted(reply.text)}")
            return
        if reply.status in (401, 403, 404, 405) or 300 <= reply.status < 400:
            self._refused()
            self._check_status(reply, path)
        if verdict.refused:
            self._refused()
            raise refusal(verdict.refused)
        raise UnknownAnswer(
            f"the answer to the upload (HTTP {reply.status}) is none that this updater gives: {quoted(reply.text)}"
        )

    def _is_ours(self, location: str) -> bool:
        parts = urlsplit(location)
        return not parts.netloc or f"{parts.scheme}://{parts.netloc}" == self._http.site.origin

    @property
    def _board_checks(self) -> bool:
        """For the batch to know: the usual libraries take an MD5, and forget it before they begin (updaters.py)."""
        return bool(self._settings.md5 and (self._updater.md5_field or self._updater.start))

    def _sign_of_life(self) -> str:
        """Without a status page, the updater's own page shows that the board is there again."""
        if self._watch.alive or (self._may_restart and not self._waited):
            return ""
        try:
            reply = self._http.get(self._updater.page, PAGE_TIMEOUT_S)
        except DeviceError:  # refused, too: it restarts, or joins its network again
            return ""
        self._watch.alive = True
        return f"the board's web server answers (HTTP {reply.status}); the version is not known (no `version_path`)\n"


# can_verify: not with the usual updaters, which check no digest; where the batch says that one does, so does `holds`.
_CAPABILITIES = replace(UPDATED_BY_NETWORK, can_verify=False)
# 0x640000: the biggest application partition of arduino-esp32's tables (default_16MB.csv); a board refuses by itself
# what does not fit into its own.
_DEFAULTS = TypeDefaults(flash_address=0, max_firmware_size=0x640000, usual_flash=USUAL_SLOT, start_s=START_S)


def _open(link: Link, log: Log) -> HttpSession:
    options = link.options if isinstance(link.options, HttpOptions) else HttpOptions()
    return HttpSession(link, options, log)


HTTP_OTA = UpdateDriver("http-ota", _CAPABILITIES, _DEFAULTS, HttpOptions, _open)
