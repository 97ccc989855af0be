"""Every page for those who can't see well, or use no mouse: names, contrast, focus, and no page wider than a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboards.annotation.visit import COOKIE
from tests.browser import CHROMIUM, Tab, chromium
from tests.unit.dashboards.annotation.conftest import House

pytestmark = pytest.mark.browser
CONTROLS = {"link", "button", "textbox", "combobox", "spinbutton", "radio", "checkbox", "slider", "searchbox"}
FAINT = """(() => {
  const seen = (c) => c.match(/[\\d.]+/g).map(Number);
  const lum = (c) => { const l = c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const ground = (e) => { if (!e) return [255, 255, 255]; const c = seen(getComputedStyle(e).backgroundColor);
    return (c[3] ?? 1) === 1 ? c : over(c, ground(e.parentElement)); };
  const veil = (e) => e ? Number(getComputedStyle(e).opacity) * veil(e.parentElement) : 1;
  const faint = [];
  for (const e of document.body.querySelectorAll('*')) {
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join('');
    if (!text || e.closest('.unseen, [disabled], option, datalist, script') || !e.getClientRects().length) continue;
    const back = ground(e), color = seen(getComputedStyle(e).color);
    const front = over([...color.slice(0, 3), (color[3] ?? 1) * veil(e)], back);
    const [a, b] = [lum(front), lum(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${e.tagName} ${e.className} ${text.slice(0, 30)}`);
  }
  return faint;
})()"""
REACHABLE = "[...document.querySelectorAll('a[href], button, input, select, textarea')].filter((e) => !e.disabled && e.type !== 'hidden' && e.getClientRects().length).length"
FOCUSED = """(() => { const e = document.activeElement, s = getComputedStyle(e);
  return [e === document.body ? '' : e.tagName + ' ' + (e.name || e.textContent.trim()).slice(0, 30), parseFloat(s.outlineWidth), s.outlineStyle]; })()"""


def act_as(tab: Tab, house: House, address: str, login: str) -> None:
    token = house.client(login).cookies[COOKIE]
    tab.call("Network.setCookie", name=COOKIE, value=token, url=address, httpOnly=True, sameSite="Strict")


def nameless(tab: Tab) -> list[str]:
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    return [
        n["role"]["value"]
        for n in tree
        if not n["ignored"] and n["role"]["value"] in CONTROLS and not n.get("name", {}).get("value", "").strip()
    ]


def tabbed(tab: Tab) -> None:
    """By the Tab key alone every control is reached, and seen to be."""
    wanted = tab.run(REACHABLE)
    met = []
    tab.run("document.activeElement.blur()")
    for _ in range(wanted + 3):
        tab.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        tab.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        told: list[Any] = tab.run(FOCUSED)
        if told[0]:
            met.append(told)
    assert len(met) >= wanted, (wanted, met)
    assert all(width >= 2 and style != "none" for _, width, style in met), met


def test_every_page_is_named_readable_and_works_by_keyboard(house: House, address: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    batch = house.batch("likert", "t_wide")
    pages = {
        "": ["/sign-in"],
        "annotator": ["/", "/pay", "/leaderboard", f"/guidelines/{house.schemas['likert']}", "/label"],
        "reviewer": ["/"],
        "administrator": ["/batches", "/batches/new", f"/batches/{batch}", "/schemas/new", "/people", "/payouts", "/log", "/none"],
    }  # fmt: skip
    problems = []
    with chromium(tmp_path / "profile") as tab:
        for login, paths in pages.items():
            if login:
                act_as(tab, house, address, login)
            for path in paths:
                tab.size(1366, 768)
                tab.go(address + path)
                if path == "/label":
                    tab.wait("task && player.lead.readyState >= 2")
                assert tab.run(
                    "document.title && document.documentElement.lang && document.querySelectorAll('h1').length === 1"
                ), path
                tabbed(tab)
                for width, height, dark in ((1366, 768, False), (390, 844, True)):
                    tab.size(width, height, dark=dark)
                    name = f"{login or 'nobody'}{path.replace('/', '_')}_{width}.png"
                    tab.picture(tmp_path / name)
                    problems += [(path, width, f"no name: {role}") for role in nameless(tab)]
                    problems += [(path, width, f"contrast {faint}") for faint in tab.run(FAINT)]
                    if (wide := tab.run("document.documentElement.scrollWidth")) > width:
                        problems.append((path, width, f"{wide} px wide"))
        assert tab.complaints == []
    assert problems == []
