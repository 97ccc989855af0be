"""Every page for those who can't see well, or use no mouse, as far as pages and style sheet tell without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dashboards.annotation import app
from tests.unit.dashboards.annotation.conftest import House

STYLE = (Path(app.__file__).parent / "static" / "annotation.css").read_text()
PAIRS = (
    ("text", "back"), ("text", "card"), ("text", "soft"), ("dim", "back"), ("dim", "card"), ("dim", "soft"),
    ("accent", "back"), ("accent", "card"), ("on-accent", "accent"), ("good", "good-back"), ("warn", "warn-back"),
    ("bad", "bad-back"), ("bad", "card"),
)  # fmt: skip
"""Which colour is written on which ground."""


class Page(HTMLParser):
    """`nameless`: controls without a name that a screen reader could say; `keys`: what would break the order of Tab."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.nameless: list[str] = []
        self.keys: list[str] = []
        self.headings = 0
        self.lang = ""
        self._open: list[tuple[str, str]] = []
        self._said: list[str] = []
        self._labels: list[list[str]] = []
        self._waiting: list[tuple[int, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {k: v or "" for k, v in attrs}
        at = self.get_starttag_text() or tag
        self.lang = told.get("lang", self.lang)
        self.headings += tag == "h1"
        if "onclick" in told or int(told.get("tabindex", 0)) > 0:
            self.keys.append(at)
        if tag == "label":
            self._labels.append([])
        if tag in ("input", "select", "textarea") and told.get("type") != "hidden" and not told.get("aria-label"):
            if self._labels:
                self._waiting.append((len(self._labels) - 1, at))
            else:
                self.nameless.append(at)
        if tag in ("a", "button"):
            self._open.append((tag, "" if told.get("aria-label") else at))
            self._said.append("")

    def handle_data(self, data: str) -> None:
        self._said = [said + data.strip() for said in self._said]
        if self._labels and not any(tag in ("option", "small") for tag in (self.lasttag,)):
            self._labels[-1].append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "button"):
            _, at = self._open.pop()
            if not self._said.pop() and at:
                self.nameless.append(at)
        if tag == "label":
            said, depth = "".join(self._labels.pop()), len(self._labels)
            self.nameless += [at for d, at in self._waiting if d == depth and not said]
            self._waiting = [w for w in self._waiting if w[0] != depth]


def colours(dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    return {k: v for block in blocks[: 2 if dark else 1] for k, v in re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)}


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, 1.4.3."""

    def lum(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((lum(one), lum(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_written_can_be_read(dark: bool) -> None:
    known = colours(dark)
    faint = {pair: round(contrast(*(known[c] for c in pair)), 2) for pair in PAIRS}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}
    edge = re.search(r"input, select, textarea \{[^}]*border: 1px solid (#[0-9a-f]{6})", STYLE)
    assert edge is not None
    assert min(contrast(edge.group(1), known[ground]) for ground in ("back", "card")) >= 3, "where a field ends"
    assert contrast("#dfe3ea", "#0b0d11") >= 4.5, "the player's clock"


def test_nothing_hides_the_focus_or_fades_text() -> None:
    assert ":focus-visible { outline: 3px solid" in STYLE
    assert not re.search(r"outline: *(0|none)", STYLE)
    faded = [rule for rule, told in re.findall(r"([^{}]+)\{([^}]*)\}", STYLE) if re.search(r"(?<!-)opacity: *\.", told)]
    assert [rule.strip() for rule in faded] == ["button:disabled", "#marks i"], "neither is text to be read"
    assert "::placeholder { color: var(--dim); opacity: 1; }" in STYLE


def test_every_control_has_a_name_and_its_place_in_the_order_of_keys(house: House) -> None:
    batch = house.batch("likert", "t_wide")
    pages = {
        "": ["/sign-in"],
        "annotator": ["/", "/pay", "/leaderboard", f"/guidelines/{house.schemas['likert']}", "/label"],
        "reviewer": ["/"],
        "administrator": ["/batches", "/batches/new", f"/batches/{batch}", f"/batches/{batch}/items/1", "/schemas/new", "/schemas/1/preview", "/people", "/payouts", "/log"],
    }  # fmt: skip
    for login, paths in pages.items():
        for path in paths:
            found = Page(house.client(login).get(path).text)
            assert (found.nameless, found.keys, found.headings, found.lang) == ([], [], 1, "en"), (login, path)
    broken = Page('<button></button><label><input name="x"></label><a href="/" tabindex="3">x</a><input name="y">')
    assert len(broken.nameless) == 3
    assert len(broken.keys) == 1
