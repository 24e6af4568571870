"""Who may see the page: names that are asked for, sites that ask, tokens."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.host.web.guard import COOKIE, Guard, is_loopback

TOKEN = "a-token"
OURS = "127.0.0.1:8080"


def ask(*, host=OURS, address="127.0.0.1", token="", query="", kind="http", **headers):
    """One request to a guarded application; the status, or "in" where it was let in, and the answer's headers."""
    sent = []

    async def application(scope, receive, send):
        sent.append({"type": "in"})

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    pairs = {"host": host, **headers}
    scope = {
        "type": kind,
        "method": "GET",
        "path": "/",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
    }
    asyncio.run(Guard(application, address=address, port=8080, token=token)(scope, receive, send))
    first = sent[0]
    if first["type"] == "in":
        return "in", {}
    if first["type"] == "websocket.close":
        return "closed", {}
    return first["status"], {name.decode(): value.decode() for name, value in first["headers"]}


def status(**request):
    return ask(**request)[0]


def elsewhere(**request):
    return ask(host="lab.example:8080", address="0.0.0.0", token=TOKEN, **request)


def test_loopback_addresses_are_known():
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org", "")))


def test_without_a_token_only_loopback_is_served():
    with pytest.raises(ValueError, match="loopback"):
        Guard(None, address="0.0.0.0", port=8080, token="")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", [OURS, "localhost:8080", "[::1]:8080", "localhost"])
def test_this_machine_is_let_in_under_its_names(host, kind):
    assert status(host=host, kind=kind) == "in"
    assert status(host=host, kind=kind, origin=f"http://{host}") == "in"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "192.168.1.5:8080", "", "[", "a@b"])
def test_a_foreign_name_is_refused(host):
    assert status(host=host) == 403
    assert status(host=host, kind="websocket") == "closed"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "", "http://127.0.0.1.evil"]
)
def test_a_page_of_another_site_may_not_ask(origin):
    assert status(origin=origin) == 403
    assert status(origin=origin, kind="websocket") == "closed"
    assert elsewhere(origin=origin, cookie=f"{COOKIE}_8080={TOKEN}")[0] == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_elsewhere_the_token_is_needed(kind):
    no = 401 if kind == "http" else "closed"
    assert elsewhere(kind=kind)[0] == no
    assert elsewhere(kind=kind, query="token=wrong")[0] == no
    assert elsewhere(kind=kind, query="token=")[0] == no
    assert elsewhere(kind=kind, cookie=f"{COOKIE}_8080=wrong")[0] == no
    assert elsewhere(kind=kind, cookie=f"{COOKIE}_8080={TOKEN}")[0] == "in"


def test_a_cookie_carries_the_token_from_then_on():
    answer, headers = elsewhere(query=f"token={TOKEN}&view=small")
    assert answer == 303
    # The address line no longer shows it.
    assert headers["location"] == "/?view=small"
    cookie = headers["set-cookie"].lower()
    assert f"{COOKIE}_8080={TOKEN}" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_token_holds_on_loopback_as_well():
    assert status(token=TOKEN) == 401
    assert status(token=TOKEN, cookie=f"{COOKIE}_8080={TOKEN}") == "in"


@given(st.text(alphabet=st.characters(max_codepoint=255)), st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_bytes_of_a_stranger_get_in_or_break_it(host, cookie):
    assert ask(host=host, address="0.0.0.0", token=TOKEN, cookie=cookie)[0] == 401


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_strange_name_breaks_it(host):
    assert status(host=host) in ("in", 403)
