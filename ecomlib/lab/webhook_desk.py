"""What the webhook's panel does, without the panel: a partner that calls the shop's server, and others who try to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from ecomlib.clock import SimulatedClock
from ecomlib.errors import EcomlibError, Refused
from ecomlib.events import Event
from ecomlib.lab import webhook_rows
from ecomlib.lab.desk import Message
from ecomlib.lab.hosted import ROOM, SECRET, TOKEN, HostedShop
from ecomlib.lab.partner import AMOUNT, CUSTOMER, Partner
from ecomlib.lab.wire import Delivery, Exchange, Wire
from ecomlib.log import FileLog
from ecomlib.services.senders import Channel
from ecomlib.services.senders import Message as Sent
from ecomlib.shop import replayed

CHANNELS = {"email": "email", "sms": "SMS"}


class WebhookDesk:
    """The server runs on a free port of this machine, over a log in a temporary folder, until `stop` or `close`.

    Requests go over real HTTP. Every action returns when the server has answered and its deliveries have ended; what
    it led to stands in `message`. An action takes a second of the desk's own clock, so all is the same at every run.
    """

    secret, token = SECRET, TOKEN

    def __init__(self) -> None:
        self._wire = Wire()
        self._begin()
        self.message = Message("Send a webhook, and watch how far it comes.")

    def _begin(self) -> None:
        self.host = HostedShop()
        self.partner = Partner(SECRET, self.clock)
        self.exchanges: list[Exchange] = []

    # --- the partner --------------------------------------------------------------------------------------

    def send(
        self,
        status: str = "created",
        *,
        order: int | str | None = None,
        amount: float | str | None = AMOUNT,
        user: int | str | None = CUSTOMER,
        key: bool = True,
    ) -> None:
        """A new report, with an `Idempotency-Key` of its own unless told otherwise.

        Without an order's number it is the next one where an order is created, else the latest. Only reports that an
        order is created or paid carry an amount and a user.
        """
        self._act(lambda: self._report(self.partner.draft(status, order, amount, user, key)))

    def send_again(self) -> None:
        """The partner's latest report, with its key if it had one, signed anew."""

        def again() -> Message:
            latest, before = self.partner.latest(), len(self.host.mailbox.sent)
            known = any(each.delivery.body == latest.body and "event_id" in each.truth for each in self.exchanges)
            said = self._report(replace(latest, what="the same again"))
            if latest.key is not None or not known or self.exchanges[-1].verdict != "taken":
                return said
            twice = ", and the customer was told again" * (len(self.host.mailbox.sent) > before)
            return Message(f"{said.text} It was taken as a new report{twice}: it has no key.", ok=False)

        self._act(again)

    def lose_answer(self, status: str = "created", *, order: int | str | None = None, key: bool = True) -> None:
        """A new report as `send` makes it, which the server takes, and whose answer is lost on its way back."""
        self._act(lambda: self._report(self.partner.draft(status, order, key=key), lose_answer=True))

    def other_body(self) -> None:
        """A mistake of the partner's: the latest report's key with another amount."""

        def confuse() -> Message:
            latest = self.partner.latest()
            if latest.key is None:
                raise Refused("The latest report has no key: send one with a key first.")
            return self._post(self.partner.signed(latest.changed("other body")))

        self._act(confuse)

    def nonsense(self) -> None:
        """A mistake of the partner's: a signed report that says nothing that could be true."""
        report = {"order_id": "", "status": "lost", "amount": -1}
        self._act(lambda: self._post(self.partner.signed(self.partner.delivery("nonsense", report))))

    # --- others, who do not know the secret ---------------------------------------------------------------

    def forge(self) -> None:
        """Somebody on the way changes the amount of a new report, which the partner has signed."""
        self._act(lambda: self._post(self.partner.signed(self.partner.draft()).changed("forged")))

    def unsigned(self) -> None:
        """Somebody makes up a report, and sends it without a signature."""
        self._act(lambda: self._post(replace(self.partner.draft(), what="unsigned")))

    def overhear(self) -> None:
        """Somebody sends the partner's latest request, signature and all: with another key, if it has one at all."""

        def repeat() -> Message:
            latest = self.partner.latest()
            return self._post(replace(latest, what="overheard", key=latest.key and "somebody-else"))

        self._act(repeat)

    def send_late(self) -> None:
        """Somebody sends the partner's latest request, byte for byte, ten minutes later."""

        def wait() -> Message:
            late = replace(self.partner.latest(), what="ten minutes late")
            self.clock.advance(minutes=10)
            return self._post(late)

        self._act(wait)

    # --- the server ---------------------------------------------------------------------------------------

    def stall(self) -> None:
        """The shop's services stand still: what is taken waits, until a queue is full. Each holds two events."""

        def stand_still() -> Message:
            self.host.stall()
            return Message(f"The services stand still, and each queue has room for {ROOM} events. Now send some.")

        self._act(stand_still)

    def repair(self) -> None:
        """The services work again, and what waited is delivered."""

        def go_on() -> Message:
            self.host.needed()
            before = len(self.host.mailbox.sent)
            self.host.go_on()
            return Message(f"The services work. Messages that went out now: {len(self.host.mailbox.sent) - before}.")

        self._act(go_on)

    def stop(self) -> None:
        """The server takes no more requests, ends what it took, and frees its port."""

        def end() -> Message:
            self.host.stop()
            return Message("The server is stopped; its log is all that is left. Send something, or click Start.")

        self._act(end)

    def start(self) -> None:
        """A new server over the same log. It knows nothing but what the log says."""

        def begin() -> Message:
            self.host.start()
            return Message(f"A new server runs. It has read {len(self.events())} events in the log, and their keys.")

        self._act(begin)

    def restart(self) -> None:
        if self.running:
            self.stop()
        self.start()

    def reset(self) -> None:
        """A new server, over a new log with nothing in it."""
        self.host.close()
        self._begin()
        self.message = Message("A new log, with nothing in it.")

    def close(self) -> None:
        """When it returns, the server's port is free. The log can still be read."""
        self.host.close()

    # --- parts --------------------------------------------------------------------------------------------

    def _act(self, action: Callable[[], Message]) -> None:
        self.clock.advance(seconds=1)  # so that no two requests have the same signature
        try:
            self.message = action()
        except EcomlibError as error:
            self.message = Message(str(error), ok=False)

    def _report(self, draft: Delivery, *, lose_answer: bool = False) -> Message:
        return self._post(self.partner.ready(draft), lose_answer=lose_answer)

    def _post(self, delivery: Delivery, *, lose_answer: bool = False) -> Message:
        before = len(self.host.mailbox.sent)
        exchange = self._wire.send(self.host.server.url, delivery, lose_answer=lose_answer)
        self.exchanges.append(exchange)
        self.host.settle()
        said, out = webhook_rows.told(exchange), self.host.mailbox.sent[before:]
        if exchange.verdict == "taken":
            said += "".join(f" User {message.recipient} got an {CHANNELS[message.channel]}." for message in out)
            said += " It waits in the queues." * self.host.stalled
        return Message(said, ok=exchange.verdict in ("taken", "again"))

    # --- what came of it ----------------------------------------------------------------------------------

    @property
    def clock(self) -> SimulatedClock:
        """The shop's and the partner's."""
        return self.host.clock

    @property
    def folder(self) -> Path:
        """Where the log is."""
        return self.host.folder

    @property
    def running(self) -> bool:
        return self.host.running

    @property
    def url(self) -> str:
        """Raises `Refused` while the server is stopped."""
        self.host.needed()
        return self.host.server.url

    @property
    def last(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else None

    def events(self) -> list[Event]:
        """What the log says, also while the server is stopped."""
        return self.host.events()

    def sent(self, channel: Channel) -> list[Sent]:
        """The messages that customers got."""
        return [message for message in self.host.mailbox.sent if message.channel == channel]

    def paths(self) -> list[webhook_rows.Path]:
        return webhook_rows.paths(self.exchanges, self.events())

    def totals(self) -> dict[str, int | str]:
        """Of the log, as `GET /analytics` gives them."""
        with FileLog(self.folder) as log:
            return replayed(log).totals()

    def numbers(self) -> dict[str, int]:
        """What was sent and what came of it."""
        return {
            "sent": len(self.exchanges),
            **webhook_rows.counted(self.exchanges),
            "events": len(self.events()),
            "emails": len(self.sent("email")),
            "sms": len(self.sent("sms")),
        }

    def state(self) -> str:
        """Of the server, in a sentence."""
        if not self.running:
            return "✗ The server is stopped."
        if self.host.stalled:
            return f"✗ The services stand still, and each queue has room for {ROOM} events."
        return "✓ The server runs, and takes only what is signed."

    def __repr__(self) -> str:
        numbers = self.numbers()
        lost = f", no answer {numbers['no answer']}" if numbers["no answer"] else ""
        said = (
            "sent {sent}, taken {taken}, again {again}, refused {refused}{lost} | "
            "events {events}, emails {emails}, sms {sms}"
        ).format(**numbers, lost=lost)
        said += f" | {self.state()}" * (not self.running or self.host.stalled)
        return said if self.message.ok else f"{said} | {self.message}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
