"""`ecomlib serve` as it is projected: webhooks arrive while the live page is open; the server dies, and comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE
from tests.support.webhook import SECRET, TOKEN, Client, Process

TOTAL = "value => document.querySelector(`[data-counter=${value[0]}]`).textContent === value[1]"
STATE = "value => document.querySelector('#state').dataset.state === value"


class Class:
    """The page on the projector, and the partner who sends."""

    def __init__(self, page: Page, folder: Path, port: int, stack: ExitStack) -> None:
        self.page, self._folder, self._port, self._stack = page, folder, port, stack

    def start(self) -> None:
        server = Process(self._folder, port=self._port, webhook_secret=SECRET, token=TOKEN)
        self.server = self._stack.enter_context(server)
        self.partner = self._stack.enter_context(Client(self.server.url, secret=SECRET))

    def expect(self, name: str, value: object) -> None:
        self.page.wait_for_function(TOTAL, arg=[name, str(value)], timeout=PATIENCE)

    def shot(self, name: str) -> None:
        if folder := os.environ.get("ECOMLIB_SHOTS"):
            self.page.screenshot(path=Path(folder, f"{name}.png"))


@pytest.fixture
def lecture(browser: Browser, tmp_path: Path, unused_port: int) -> Iterator[Class]:
    with ExitStack() as stack:
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        stack.callback(page.close)
        yield Class(page, tmp_path, unused_port, stack)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_what_the_webhook_takes_and_goes_on_after_a_kill(scheme: str, lecture: Class) -> None:
    page = lecture.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    lecture.start()
    page.goto(f"{lecture.server.url}/?token={TOKEN}")
    assert "token" not in page.url  # no bookmark and no projector shows it
    page.wait_for_function(STATE, arg="live", timeout=PATIENCE)
    for number in range(1, 21):
        said = {"order_id": number, "amount": "49.90", "user_id": 100 + number}
        lecture.partner.post({**said, "status": "created"}, f"created-{number}")
        if number % 2:
            lecture.partner.post({**said, "status": "paid"}, f"paid-{number}")
    lecture.expect("orders", 20)
    lecture.expect("emails", 20)
    lecture.expect("sms", 10)
    lecture.expect("revenue", "499.00")
    lecture.shot(f"serve-{scheme}")
    lecture.server.kill()
    page.wait_for_function(STATE, arg="lost", timeout=PATIENCE)
    lecture.shot(f"serve-lost-{scheme}")
    lecture.start()
    page.wait_for_function(STATE, arg="live", timeout=PATIENCE)
    again = lecture.partner.post({**said, "status": "created"}, "created-20")
    assert again.headers["Idempotent-Replayed"] == "true"
    lecture.partner.post({"order_id": 21, "status": "created", "user_id": 100}, "created-21")
    lecture.expect("orders", 21)
    lecture.shot(f"serve-back-{scheme}")
    ids = page.evaluate("[...document.querySelectorAll('#events tr[data-id]')].map(row => Number(row.dataset.id))")
    assert ids == sorted({*ids}, reverse=True)  # each once
