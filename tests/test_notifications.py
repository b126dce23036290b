"""Who is told what, and that they are told once."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput, BusFull, Permanent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import DeadLetter, Retry
from ecomlib.services.notifications import NotificationService
from ecomlib.services.senders import Message, RecordingSender, Sender, SendFailed, SmtpSender, parse_smtp
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
    service._store._connection.execute("PRAGMA query_only = ON")
    for _ in range(3):
        with pytest.raises(StoreError, match=r"sent\.db failed"):
            service.send_email(CREATED)
    service._store._connection.execute("PRAGMA query_only = OFF")
    service.send_email(CREATED)
    service.close()
    again = new_service(EventBus(), sender, tmp_path / "sent.db")
    again.send_email(CREATED)
    assert [message.id for message in sender.sent] == ["created-1.email@shop.example"]


@pytest.mark.parametrize("id", ["a>b<c", "a@b@c", "é" * 90, "x" * 300])
def test_a_message_has_an_id_that_any_mail_server_takes(id: str, smtp: SmtpSender, inbox: Inbox) -> None:
    service = NotificationService(EventBus(), smtp, EventFactory("/shop", SimulatedClock()))
    for _ in range(2):
        service.send_email(replace(CREATED, id=id))
    (mail,) = inbox.mails
    assert re.fullmatch(r"<[0-9a-f]{64}\.email@shop\.example>", mail["Message-ID"])


def test_what_was_no_event_for_us_is_no_customer_who_was_not_told(recorder: list[Event]) -> None:
    bus = EventBus()
    bus.subscribe("#", handler=recorder.append)
    service = NotificationService(bus, RecordingSender(), EventFactory("/shop", SimulatedClock()))
    service.tell_of_failure(DeadLetter(PAID, "email", 0, "BadEvent: order.paid is not for this queue"))
    bus.run_until_idle()
    assert recorder == []


def test_an_email_that_takes_long_holds_up_no_sms(recorder: list[str]) -> None:
    sms_is_out = threading.Event()

    class Slow(RecordingSender):
        def send(self, message: Message) -> None:
            if message.channel == "email":
                recorder.append(f"email, after the SMS: {sms_is_out.wait(20)}")
            else:
                recorder.append("sms")
                sms_is_out.set()

    service = NotificationService(EventBus(), Slow(), EventFactory("/shop", SimulatedClock()))
    emailing = threading.Thread(target=service.send_email, args=(CREATED,))
    emailing.start()
    service.send_sms(PAID)
    emailing.join(20)
    assert sorted(recorder) == ["email, after the SMS: True", "sms"]


def test_a_message_is_known_for_a_week(tmp_path: Path, clock: SimulatedClock) -> None:
    sender = RecordingSender()
    service = NotificationService(EventBus(), sender, EventFactory("/shop", clock), store=tmp_path / "sent.db")
    for days, sent in ((0, 1), (6.9, 1), (0.2, 2)):
        clock.advance(days=days)
        service.send_email(Event("user.registered", {"user_id": f"{days}"}))  # what is too old goes at a new one
        service.send_email(CREATED)
        assert [message.id for message in sender.sent].count("created-1.email@shop.example") == sent


def test_the_latest_messages_are_known_however_many_come(tmp_path: Path) -> None:
    sender = RecordingSender()
    service = NotificationService(
        EventBus(), sender, EventFactory("/shop", SimulatedClock()), store=tmp_path / "s", ids=3
    )
    users = [Event("user.registered", {"user_id": n}, id=str(n)) for n in range(5)]
    for event in (*users, *users[2:], users[1]):
        service.send_email(event)
    assert [message.recipient for message in sender.sent] == ["0", "1", "2", "3", "4", "1"]


def test_a_store_of_an_older_version_keeps_what_it_knows(tmp_path: Path, clock: SimulatedClock) -> None:
    with sqlite3.connect(tmp_path / "sent.db") as old:
        old.execute("CREATE TABLE sent (message_id TEXT PRIMARY KEY, told INTEGER NOT NULL DEFAULT 0)")
        old.execute("INSERT INTO sent VALUES ('created-1.email@shop.example', 1), ('paid-1.sms@shop.example', 0)")
    old.close()
    bus, sender = EventBus(), RecordingSender()
    for _ in range(2):
        service = NotificationService(bus, sender, EventFactory("/shop", clock), store=tmp_path / "sent.db")
        service.send_email(CREATED)
        service.send_sms(PAID)
        service.close()
    assert sender.sent == []
    assert [event.id for event in bus.history] == ["paid-1.sms.sent"]  # it was sent, and not yet told
    clock.advance(days=8)
    service = NotificationService(bus, sender, EventFactory("/shop", clock), store=tmp_path / "sent.db")
    service.send_email(REGISTERED)
    service.send_email(CREATED)
    assert len(sender.sent) == 2


def test_two_services_share_a_store(tmp_path: Path) -> None:
    bus, sender = EventBus(), RecordingSender()
    one, two = (new_service(bus, sender, tmp_path / "sent.db") for _ in range(2))
    events = [Event("user.registered", {"user_id": n}, id=str(n)) for n in range(40)]
    with ThreadPoolExecutor(2) as pool:  # each in its own order, so that they meet
        list(pool.map(lambda work: [work[0].send_email(e) for e in work[1]], ((one, events[:30]), (two, events[10:]))))
    one.send_email(events[35])
    assert {event.id for event in bus.history} == {f"{n}.email.sent" for n in range(40)}
    assert {message.id for message in sender.sent} == {f"{n}.email@shop.example" for n in range(40)}
    assert 40 <= len(sender.sent) <= 60


def test_a_message_that_another_process_wrote_down_meanwhile_is_no_error(tmp_path: Path) -> None:
    other = new_service(EventBus(), RecordingSender(), tmp_path / "sent.db")

    class Overtaken(RecordingSender):
        def send(self, message: Message) -> None:
            other.send_email(CREATED)
            super().send(message)

    bus = EventBus()
    new_service(bus, Overtaken(), tmp_path / "sent.db").send_email(CREATED)
    assert [event.id for event in bus.history] == ["created-1.email.sent"]


def test_who_could_not_be_told_is_a_fact(recorder: list[Event]) -> None:
    bus = EventBus()
    bus.subscribe("notification.failed", handler=recorder.append)
    service = new_service(bus, RecordingSender())
    service.tell_of_failure(DeadLetter(CREATED, "email", 3, "Permanent: it bounced"))
    service.tell_of_failure(DeadLetter(CREATED, "analytics", 3, "ValueError: not a notice's matter"))
    bus.run_until_idle()
    assert [(event.id, event.data.to_dict()) for event in recorder] == [
        (
            "created-1.email.failed-3",
            {"channel": "email", "error": "Permanent: it bounced", "recipient": "100", "order_id": "1"},
        )
    ]


def test_our_own_trouble_is_no_failure_where_the_letter_can_be_taken_up_again() -> None:
    bus, sender = EventBus(retry=Retry(attempts=1)), RecordingSender()
    service = new_service(bus, sender)
    bus.subscribe("order.created", handler=service.send_email, name="email")
    service._store._connection.execute("PRAGMA query_only = ON")
    bus.publish(CREATED)
    bus.run_until_idle()
    service._store._connection.execute("PRAGMA query_only = OFF")
    service.tell_of_failure(bus.dead_letters[0])
    bus.run_until_idle()
    assert [event.type for event in bus.history] == ["order.created", "notification.sent"]
    service.tell_of_failure(DeadLetter(CREATED, "email", 3, "StoreError: of a letter that is gone"))
    assert bus.history[-1].type == "notification.failed"


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [("localhost:1025", "localhost", 1025), ("[::1]:25", "::1", 25), ("10.0.0.1:2", "10.0.0.1", 2)],
)
def test_a_mail_server_is_named_by_host_and_port(place: str, host: str, port: int) -> None:
    sender = parse_smtp(place)
    assert (sender.host, sender.port) == (host, port)


@pytest.mark.parametrize("place", ["", "localhost", ":25", "localhost:", "localhost:0", "localhost:99999", "a b:25"])
def test_what_names_no_mail_server_is_bad_input(place: str) -> None:
    with pytest.raises(BadInput, match="is no mail server: write its host and its port, like localhost:1025"):
        parse_smtp(place)


def test_a_store_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "sent.db").write_bytes(b"this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"file is not a database .name another file, or move this one away"):
        new_service(EventBus(), RecordingSender(), tmp_path / "sent.db")
