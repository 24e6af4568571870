"""Serves the page from a thread of its own, so that the thread that talks to the device never waits for a browser."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from edgelearn.errors import MissingPackageError, OptionError, WebError
from edgelearn.host.web.panel import Panel

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgelearn.host.web.page import Page

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 20.0
#: Pages read the panel twice a second; one that does not is not waited for.
_LAST_LOOK_S = 2.0
#: From a page here to the browser.
_DELIVERY_S = 0.3


class WebServer:
    """The page of one panel; a context manager. One for each process: NiceGUI keeps its pages in the module.

    Args:
        panel: what is shown.
        address: where to listen; on another than the loopback address visitors need a token.
        port: TCP port, 0 for any free one.
        token: that visitors need; "" makes one up where one is needed.

    Raises:
        MissingPackageError: NiceGUI is not installed.
        WebError: the address or the port cannot be had.
    """

    def __init__(self, panel: Panel, *, address: str = LOOPBACK, port: int = 0, token: str = "") -> None:
        try:
            import nicegui  # noqa: F401
        except ImportError as error:
            raise MissingPackageError("nicegui", extra="web", purpose="the page in a browser") from error
        from edgelearn.host.web.guard import is_loopback

        if not address:
            raise OptionError("the page needs an address to be served at", hint="127.0.0.1, or 0.0.0.0 for all")
        if token and not token.isascii():
            raise OptionError("the token has letters beyond ASCII", hint="use letters, digits, - and _")
        self._panel = panel
        self._address = address
        self._token = token or ("" if is_loopback(address) else secrets.token_urlsafe(16))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.create_server((address, port), family=family)
        except (OSError, OverflowError) as error:
            raise WebError(
                f"the page cannot be served at {address}, port {port}",
                cause=str(error),
                hint="choose another with --web-port or --web-address; port 0 takes any free one",
            ) from error
        self.port = int(self._socket.getsockname()[1])
        self._thread: threading.Thread | None = None
        self._pages: list[Page] = []

    @property
    def url(self) -> str:
        """What to open in a browser, with the token where one is needed."""
        name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self._address, self._address)  # noqa: S104
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/" + (f"?token={self._token}" if self._token else "")

    def start(self) -> None:
        """Serve; returns when the page can be opened."""
        import uvicorn
        from fastapi import FastAPI
        from nicegui import ui

        from edgelearn.host.web.guard import Guard
        from edgelearn.host.web.page import Page

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        def root() -> None:
            self._pages = [page for page in self._pages if not page.is_gone]
            self._pages.append(Page(self._panel))

        ui.run_with(app, root=root, title="edgelearn", dark=None, show_welcome_message=False)
        guarded = Guard(app, address=self._address, port=self.port, token=self._token)
        self._server = uvicorn.Server(
            uvicorn.Config(guarded, log_level="error", access_log=False, timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise WebError("the page's server did not start", hint="run again with --debug and report it")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop serving, once whoever looks has seen the last of it; closing twice does no harm."""
        thread, self._thread = self._thread, None
        if thread is not None:
            deadline_s = time.monotonic() + _LAST_LOOK_S
            while time.monotonic() < deadline_s and any(page.is_behind for page in self._pages):
                time.sleep(0.05)
            if any(not page.is_gone for page in self._pages):
                time.sleep(_DELIVERY_S)
            self._server.should_exit = True
            thread.join(timeout=5.0)
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
