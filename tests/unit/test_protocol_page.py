"""docs/protocol.md: its tables are those of edgelearn/protocol.py."""

from __future__ import annotations

import enum
import re
from pathlib import Path

from edgelearn import protocol
from edgelearn.protocol import MESSAGES, MessageType, c_header, constant_values

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN, END = "<!-- begin messages -->\n", "<!-- end messages -->\n"
CODES = (
    "Status",
    "SampleFlag",
    "ResultFlag",
    "SensorRun",
    "Region",
    "ResetCause",
    "LossCode",
    "ResidualCode",
    "TensorType",
)


def tables() -> str:
    lines = [f"Protocol version {protocol.PROTOCOL_VERSION}.", ""]
    for layout in MESSAGES:
        kind = ", changes state" if layout.changes_state else ""
        lines += [f"### {layout.type.name}, 0x{int(layout.type):02X}{kind}", ""]
        if layout.fields:
            lines += ["| offset | type | field | meaning |", "|---:|---|---|---|"]
            lines += [
                f"| {offset} | {field.type.name.lower()} | `{field.name}` | {field.meaning} |"
                for field, offset in layout.places
            ]
        else:
            lines.append("No fields.")
        lines += ["", *([f"Tail: {layout.tail}.", ""] if layout.tail else [])]
    for name in CODES:
        codes: type[enum.IntEnum] = getattr(protocol, name)
        lines += [f"### {name}", "", " ".join((codes.__doc__ or "").split()), ""]
        lines += [", ".join(f"{int(code)} {code.name}" for code in codes) + ".", ""]
    return "\n".join(lines)


def test_the_page_has_every_message(update_golden: bool):
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    whole = pattern.sub(lambda _: f"{BEGIN}\n{tables()}\n{END}", text)
    if update_golden:
        PAGE.write_text(whole, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == whole


def test_every_type_has_a_layout():
    assert {layout.type for layout in MESSAGES} == set(MessageType)


def test_the_page_names_what_may_be_missing():
    text = PAGE.read_text(encoding="utf-8")
    (named,) = re.findall(r"in a reply\n(.*?)\smay be missing", text, re.DOTALL)
    replies = [layout for layout in MESSAGES if layout.type >= 0x80]
    optional = [field.name for layout in replies for field in layout.fields if field.optional]
    assert re.findall(r"`(\w+)`", named) == optional


def test_constants_for_micropython_are_those_of_c():
    header = {
        name.removeprefix("ELEARN_"): int(value.rstrip("u"), 0)
        for name, value in re.findall(r"^#define (\w+) (\w+)", c_header(), re.MULTILINE)
        if value
    }
    values = constant_values()
    assert values["RESULT_FORMAT"] == "<HHIIIIIIIB"
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    assert len(numbers) > 200
    assert numbers == {name: header[name] for name in numbers}
