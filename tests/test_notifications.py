"""Who is told what, and that they are told once."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BusFull, Permanent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.services.notifications import NotificationService
from ecomlib.services.senders import Message, RecordingSender, Sender, SendFailed, SmtpSender
from ecomlib.services.store import StoreError

CREATED = Event("order.created", {"order_id": 1, "user_id": 100, "amount": 50}, id="created-1")
PAID = Event("order.paid", {"order_id": 1, "user_id": 100, "amount": 50}, id="paid-1")
REGISTERED = Event("user.registered", {"user_id": 7, "username": "Ada"}, id="registered-7")
MESSAGE = Message("m1@shop.example", "email", "100", "Hello", "A text.", CREATED.time)


def new_service(bus: EventBus, sender: Sender, store: Path | str = ":memory:") -> NotificationService:
    return NotificationService(bus, sender, EventFactory("/shop", SimulatedClock()), store=store)


def test_a_new_order_is_an_email_a_payment_an_sms_and_a_new_user_a_welcome() -> None:
    sender = RecordingSender()
    service = new_service(EventBus(), sender)
    service.send_email(CREATED)
    service.send_sms(PAID)
    service.send_email(REGISTERED)
    assert [(m.channel, m.recipient, m.subject) for m in sender.sent] == [
        ("email", "100", "Your order 1"),
        ("sms", "100", "Order 1 is paid."),
        ("email", "7", "Welcome"),
    ]


def test_an_event_that_comes_twice_is_told_once_and_is_one_fact() -> None:
    bus, sender = EventBus(), RecordingSender()
    service = new_service(bus, sender)
    service.send_email(CREATED)
    service.send_email(CREATED)
    assert len(sender.sent) == 1
    assert [event.type for event in bus.history] == ["notification.sent"]


def test_what_was_sent_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    sender = RecordingSender()
    for _ in range(2):
        service = new_service(EventBus(), sender, tmp_path / "sent.db")
        service.send_email(CREATED)
        service.close()
    assert len(sender.sent) == 1


def test_a_fact_that_found_no_room_is_published_later_without_a_second_email() -> None:
    bus, sender = EventBus(limit=1), RecordingSender()
    bus.subscribe("#", handler=lambda event: None)
    service = new_service(bus, sender)
    bus.publish(Event("coffee.spilled"))
    with pytest.raises(BusFull):
        service.send_email(CREATED)
    bus.run_until_idle()
    service.send_email(CREATED)
    assert len(sender.sent) == 1
    assert [event.type for event in bus.history] == ["coffee.spilled", "notification.sent"]


def test_the_fact_says_which_event_it_answers() -> None:
    bus = EventBus()
    new_service(bus, RecordingSender()).send_email(CREATED)
    assert (bus.history[0].causationid, bus.history[0].correlationid) == (CREATED.id, CREATED.id)


def test_a_message_that_was_taken_before_the_crash_goes_out_again_with_the_same_id() -> None:
    class DiesAfterSending(RecordingSender):
        def send(self, message: Message) -> None:
            super().send(message)
            if len(self.sent) == 1:
                raise ConnectionError("the process died here")

    sender = DiesAfterSending()
    service = new_service(EventBus(), sender)
    with pytest.raises(ConnectionError):
        service.send_email(CREATED)
    service.send_email(CREATED)
    assert [m.id for m in sender.sent] == ["created-1.email@shop.example"] * 2


def test_user_501_bounces_for_good() -> None:
    service = new_service(EventBus(), RecordingSender())
    with pytest.raises(Permanent, match="501"):
        service.send_email(Event("order.created", {"order_id": 2, "user_id": 501, "amount": 1}))


def test_an_order_of_nobody_can_be_told_to_nobody() -> None:
    service = new_service(EventBus(), RecordingSender())
    with pytest.raises(Permanent, match="names no user"):
        service.send_email(Event("order.created", {"order_id": 2, "amount": 1}))


class Inbox(MailHandler):
    """A real mail server's end: it keeps what it took, and answers for some recipients with an error."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Mail] = []

    def handle_message(self, message: Mail) -> None:
        self.mails.append(message)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("501@"):
            return "550 no such mailbox"
        if address.startswith("busy@"):
            return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox, unused_port: int) -> Iterator[SmtpSender]:
    server = Controller(inbox, hostname="127.0.0.1", port=unused_port)
    server.start()
    try:
        yield SmtpSender("127.0.0.1", unused_port)
    finally:
        server.stop()


def test_a_mail_server_gets_the_message_with_its_id(smtp: SmtpSender, inbox: Inbox) -> None:
    smtp.send(MESSAGE)
    assert [(m["To"], m["Subject"], m["Message-ID"]) for m in inbox.mails] == [
        ("100@customers.example", "Hello", "<m1@shop.example>")
    ]


def test_an_sms_goes_to_the_gateway(smtp: SmtpSender, inbox: Inbox) -> None:
    new_service(EventBus(), smtp).send_sms(PAID)
    assert inbox.mails[0]["To"] == "100@sms.customers.example"


@pytest.mark.parametrize(("recipient", "error"), [("501", Permanent), ("busy", SendFailed), ("a b\nc", Permanent)])
def test_only_a_refusal_for_good_is_permanent(
    smtp: SmtpSender, inbox: Inbox, recipient: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        smtp.send(Message("m2@shop.example", "email", recipient, "Hello", "A text.", CREATED.time))
    assert inbox.mails == []


def test_a_server_that_is_not_there_may_be_there_at_the_next_attempt(unused_port: int) -> None:
    with pytest.raises(SendFailed, match="can't be reached"):
        SmtpSender("127.0.0.1", unused_port, timeout=2).send(MESSAGE)


def test_a_store_that_cannot_be_written_for_a_while_sends_nothing_twice(tmp_path: Path) -> None:
    sender = RecordingSender()
    service = new_service(EventBus(), sender, tmp_path / "sent.db")
    service._memory.execute("PRAGMA query_only = ON")
    for _ in range(3):
        with pytest.raises(StoreError, match=r"sent\.db failed"):
            service.send_email(CREATED)
    service._memory.execute("PRAGMA query_only = OFF")
    service.send_email(CREATED)
    service.close()
    again = new_service(EventBus(), sender, tmp_path / "sent.db")
    again.send_email(CREATED)
    assert [message.id for message in sender.sent] == ["created-1.email@shop.example"]


def test_a_store_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "sent.db").write_bytes(b"this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"file is not a database .name another file, or move this one away"):
        new_service(EventBus(), RecordingSender(), tmp_path / "sent.db")
