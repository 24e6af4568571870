"""Who may see the page and ask the device for things.

On the loopback address: every program of this machine, but no page of another site: a browser sends the name that was
asked for (Host) and the site whose page asks (Origin), and both must be ours. On any other address: who has the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: With the port behind it: browsers do not tell cookies of different ports apart.
COOKIE = "edgelearn_token"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets requests pass to `app` or answers them with 401 or 403.

    Args:
        app: what is guarded.
        address: where the server listens.
        port: where it listens.
        token: what a request must bring; "" lets all of this machine in, and then the address must be loopback.
    """

    def __init__(self, app: ASGIApp, *, address: str, port: int, token: str) -> None:
        if not token and not is_loopback(address):
            raise ValueError("without a token only the loopback address may be served")
        self._app = app
        self._token = token
        self._cookie = f"{COOKIE}_{port}"
        self._hosts = (*_LOOPBACK_NAMES, address) if is_loopback(address) else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts and _name(host) not in self._hosts:
            return PlainTextResponse("This page is served under another name.", status_code=403)
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return PlainTextResponse("Another site's page may not use this one.", status_code=403)
        if not self._token or self._is_right(cookie_parser(headers.get("cookie", "")).get(self._cookie, "")):
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        if not self._is_right(dict(query).get("token", "")):
            return PlainTextResponse(
                "This page needs the token: open the address that edgelearn printed.", status_code=401
            )
        if scope["type"] == "websocket":
            return None
        # From now on a cookie carries the token, so that it does not stand in the address line.
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return answer

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
