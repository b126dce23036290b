"""The live page in Chromium: what arrives is shown, and the page goes on when the server has been away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ecomlib.clock import SystemClock
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.shop import TOPIC, Shop
from tests.browser.conftest import PATIENCE
from tests.test_live import happened, served

ROWS = "[...document.querySelectorAll('#events tr[data-id]')].map(row => Number(row.dataset.id))"
BOXES = """[...document.querySelectorAll('section, header, dl, dd')].map(e => {
    const { x, y, width, height } = e.getBoundingClientRect();
    return [x, y, width, height].map(Math.round).join(' ');
})"""
# Each text that is shown, with the contrast to what is behind it, by WCAG 2.2's formula (4.5 is its limit for text).
CONTRASTS = """() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = e => { for (; e; e = e.parentElement) {
        const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] === 1) return c;
    } };
    return [...document.querySelectorAll('body *')]
        .filter(e => [...e.childNodes].some(c => c.nodeType === Node.TEXT_NODE && c.textContent.trim()))
        .filter(e => e.getClientRects().length && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName))
        .map(e => {
            const both = [luminance(parts(getComputedStyle(e).color)), luminance(behind(e))];
            return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), e.textContent];
        });
}"""


class Shown:
    """The page, and the server and shop behind it: the shop appends to the log, and the server only reads it."""

    def __init__(self, page: Page, folder: Path, port: int, stack: ExitStack) -> None:
        self.page, self.folder, self.port, self._stack = page, folder, port, stack
        self.said: list[str] = []
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda message: self.said.append(message.text))
        self.start()
        page.goto(f"http://127.0.0.1:{port}/")
        self.wait_for_state("live")

    def start(self, **limits: float) -> None:
        self.process = self._stack.enter_context(served(self.folder, self.port, **limits))

    def kill(self) -> None:
        self.process.kill()  # SIGKILL
        self.process.wait()
        self.wait_for_state("lost")

    def wait(self, condition: str, value: Any = None) -> None:
        self.page.wait_for_function(f"value => {condition}", arg=value, timeout=PATIENCE)

    def wait_for_state(self, name: str) -> None:
        self.wait("document.querySelector('#state').dataset.state === value", name)

    def wait_for_rows(self, ids: list[int]) -> None:
        self.wait(f"JSON.stringify({ROWS}) === JSON.stringify(value)", ids)

    def wait_for_total(self, name: str, value: str) -> None:
        self.wait("document.querySelector(`[data-counter=${value[0]}]`).textContent === value[1]", [name, value])

    def wait_for_chart(self, events: int) -> None:
        """Counts what happened in the last minute."""
        self.wait("Number(document.querySelector('#chart').dataset.counted) === value", events)

    def row(self, number: int) -> list[str]:
        return self.page.locator("#events tr").nth(number).locator("td").all_inner_texts()[1:]

    def shot(self, name: str) -> None:
        if folder := os.environ.get("ECOMLIB_SHOTS"):
            self.page.screenshot(path=Path(folder, f"{name}.png"))


Show = Callable[..., Shown]


@pytest.fixture
def show(browser: Browser, tmp_path: Path, unused_port: int) -> Iterator[Show]:
    with ExitStack() as stack:

        def open_(scheme: Any = "light") -> Shown:
            # Playwright's waiting needs eval, which the page's policy forbids; tests/test_live.py holds the policy.
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme, bypass_csp=True)
            stack.callback(page.close)
            return Shown(page, tmp_path / "log", unused_port, stack)

        yield open_


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_arrives_is_shown(scheme: str, show: Show) -> None:
    shown = show(scheme)
    page = shown.page
    assert page.locator("#nothing").is_visible()
    shown.wait_for_total("revenue", "0.00")
    before = page.evaluate(BOXES)
    with Shop(shown.folder, clock=SystemClock(), seed=None) as shop:
        shop.story()
        for number in range(3, 13):
            shop.orders.create(number, user_id=100 + number, amount=f"{number}234.50")
        shop.orders.pay(12)
        shop.orders.ship(12)
        shop.run()
        events = shop.analytics.totals()["events"]
    shown.wait_for_total("events", str(events))
    shown.wait_for_total("revenue", "12,284.50")
    shown.wait_for_total("failed", "1")
    shown.wait_for_rows([*range(int(events) - 1, int(events) - 13, -1)])
    shown.wait_for_chart(int(events))
    texts = [shown.row(n) for n in range(12)]
    assert ["order.shipped", "12", "is on its way"] in texts
    assert ["order.paid", "12", "12,234.50, customer 112"] in texts
    assert ["notification.sent", "12", "SMS to customer 112"] in texts
    (failure,) = page.locator("#failures li").all_inner_texts()
    assert "no email to customer 501" in failure
    assert "Order 2. The mailbox of user 501 does not exist: the message bounced." in failure
    assert page.evaluate(BOXES) == before  # no layout jump
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [1280, 800]
    cut = "[...document.querySelectorAll('td, dd, #failures p')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{cut}.map(e => e.innerText)") == []
    assert [text for contrast, text in page.evaluate(CONTRASTS) if contrast < 4.5] == []
    page.wait_for_function("document.getAnimations().length === 0", timeout=PATIENCE)
    shown.shot(f"live-{scheme}")
    assert shown.said == []


def test_an_event_is_text_and_nothing_else(show: Show) -> None:
    shown = show()
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    with FileLog(shown.folder) as log:
        log.append(
            TOPIC,
            Event("coffee.spilled", {"on": evil}, subject=evil),
            Event("constructor", {"toString": 1, "__proto__x": [evil]}),
            Event("notification.failed", {"channel": evil, "error": evil, "recipient": evil, "order_id": evil}),
            Event("order.created", {"order_id": "9" * 100, "amount": "999999999.99", "user_id": "W" * 100}),
        )
    shown.wait_for_rows([3, 2, 1, 0])
    assert shown.row(3) == ["coffee.spilled", evil, f"on {evil}"]
    assert evil in shown.page.locator("#failures").inner_text()
    assert shown.page.locator("img, #events script").count() == 0
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 1280
    assert shown.said == []


def test_the_page_goes_on_after_the_server_was_killed(show: Show) -> None:
    shown = show()
    with FileLog(shown.folder) as log:
        log.append(TOPIC, *happened(0, 5))
        shown.wait_for_rows([4, 3, 2, 1, 0])
        shown.kill()
        shown.shot("live-lost")
        log.append(TOPIC, *happened(5, 20))  # another process goes on meanwhile
        shown.start()
        shown.wait_for_state("live")
        shown.wait_for_rows([*range(24, 12, -1)])
        log.append(TOPIC, *happened(25, 1))
        shown.wait_for_rows([*range(25, 13, -1)])
        shown.wait_for_chart(26)  # each once
        shown.wait_for_total("events", "26")


def test_another_log_is_shown_from_its_own_events(show: Show) -> None:
    shown = show()
    with FileLog(shown.folder) as log:
        log.append(TOPIC, *happened(0, 30))
    shown.wait_for_rows([*range(29, 17, -1)])
    shown.kill()
    shutil.rmtree(shown.folder)
    with FileLog(shown.folder) as log:
        log.append(TOPIC, *happened(100, 2))
    shown.start()
    shown.wait_for_rows([1, 0])
    assert shown.row(0)[1] == "101"
    shown.wait_for_chart(2)


def test_a_server_that_wants_a_token_says_so_and_the_page_waits_for_it(show: Show) -> None:
    shown = show()
    log = FileLog(shown.folder)
    log.append(TOPIC, *happened(0, 3))
    shown.wait_for_rows([2, 1, 0])
    shown.kill()
    log.append(TOPIC, *happened(3, 1))
    cookie = {"name": "token", "value": "wrong", "url": f"http://127.0.0.1:{shown.port}"}
    shown.page.context.add_cookies([cookie])  # type: ignore[list-item]
    shown.start()
    shown.wait_for_state("denied")
    assert "/?token=" in shown.page.locator("#state").inner_text()
    shown.shot("live-denied")
    shown.page.context.clear_cookies()
    shown.wait_for_state("live")  # the browser had given up: the page itself begins behind what it has seen
    shown.wait_for_rows([3, 2, 1, 0])
    shown.wait_for_chart(4)
    log.close()


def test_a_server_with_too_many_readers_says_so_and_the_page_tries_again(show: Show) -> None:
    shown = show()
    shown.kill()
    shown.start(readers=0)
    shown.wait_for_state("busy")
    assert "0 readers are listening" in shown.page.locator("#state").inner_text()
    shown.kill()
    shown.start()
    shown.wait_for_state("live")


def test_a_log_that_cant_be_read_is_shown_until_it_can(show: Show) -> None:
    shown = show()
    with FileLog(shown.folder) as log:
        log.append(TOPIC, *happened(0, 2))
        shown.wait_for_rows([1, 0])
        path = shown.folder / TOPIC / "0.log"
        path.rename(path.with_suffix(".away"))
        shown.wait_for_state("trouble")
        assert "can't be read" in shown.page.locator("#state").inner_text()
        shown.shot("live-trouble")
        path.with_suffix(".away").rename(path)
        shown.wait_for_state("live")


def test_three_hundred_events_a_second_are_drawn_smoothly(show: Show) -> None:
    shown = show()
    shown.page.evaluate("""() => {
        window.frames_ = 0;
        const next = () => { window.frames_ += 1; requestAnimationFrame(next); };
        requestAnimationFrame(next);
    }""")
    with FileLog(shown.folder, durability="system") as log:
        for first in range(0, 1500, 30):
            log.append(TOPIC, *happened(first, 30))
            shown.page.wait_for_timeout(100)
    shown.wait_for_rows([*range(1499, 1487, -1)])
    shown.wait_for_chart(1500)
    assert shown.page.evaluate("window.frames_") > 5 * 10  # ten a second at least, on a machine that is busy
    assert shown.page.evaluate("[counts.size <= 61, fresh.length, failed.length]") == [True, 0, 0]
