"""Exercise 07.2: a worker whose acknowledgement stands in the wrong place, and a channel to try it on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from ecomlib.lab.exercises.exercise import Exercise

LIMIT = 30  # deliveries, after which it is clear that some message comes again and again
Told = dict[str, str]

STALLS = "order.paid is not for you, and stays in your hand: with prefetch 1 nothing comes after it."
LOOPS = "You gave order.paid back to the queue, so it came again at once, and again, for ever."
REFUSED = "You refused order.paid for good, as if it were broken. It is a sound message, and you are done with it."
TWICE = "You acknowledged one message twice. RabbitMQ does not know it any more, and closes the channel."
NO_TAG = "You did not say which message you are done with: `tag` is its number, and basic_ack wants it."
ACK_FIRST = "The mail server failed, and Bob's email is gone: his message was acknowledged all the same."
SWALLOWED = "The mail server failed, your code hid it, and Bob's message stays in your hand. Let the error out."
IN_HAND = "An email went out, and its message stays in your hand: acknowledge it, too."
NO_EMAIL = "Somebody registered, and got no email: call send_email(event) for user.registered."
WRONG_EMAIL = "An email went out for order.paid. Only who registers gets one."
TWO_EMAILS = "Somebody got two emails. Call send_email once for each message."


class MailDown(Exception):
    """What `send_email` raises once: it ends the worker, and all that is in its hand goes back to the queue."""


class ChannelClosed(Exception):
    """What RabbitMQ does when a message is acknowledged that is not in hand."""


class NoTag(ChannelClosed):
    """An acknowledgement that names no message."""


class SmallChannel:
    """A queue in memory, and the channel of its only worker, with prefetch 1."""

    def __init__(self, *events: Told) -> None:
        self.ready, self.in_hand = deque(events), dict[int, Told]()
        self.refused: list[Told] = []
        self.deliveries = 0

    def basic_ack(self, delivery_tag: int = 0, multiple: bool = False) -> None:
        self._take(delivery_tag)

    def basic_nack(self, delivery_tag: int = 0, multiple: bool = False, requeue: bool = True) -> None:
        self.basic_reject(delivery_tag, requeue)

    def basic_reject(self, delivery_tag: int = 0, requeue: bool = True) -> None:
        event = self._take(delivery_tag)
        if requeue:
            self.ready.appendleft(event)
        else:
            self.refused.append(event)

    def _take(self, tag: int) -> Told:
        if tag not in self.in_hand:
            raise ChannelClosed if tag else NoTag
        return self.in_hand.pop(tag)

    def work(self, handle: Callable[..., object], send_email: Callable[[Told], object]) -> None:
        """Returns when nothing comes any more. A worker that dies is followed by another one."""
        while self.ready and not self.in_hand and self.deliveries < LIMIT:
            self.deliveries += 1
            event = self.in_hand[self.deliveries] = self.ready.popleft()
            try:
                handle(self, self.deliveries, event, send_email)
            except MailDown:
                self.ready.extendleft(self.in_hand.values())
                self.in_hand.clear()


def judge_handle(answer: Any) -> str | None:
    registered = [{"type": "user.registered", "username": name} for name in ("Alice", "Bob", "Carol")]
    channel = SmallChannel(registered[0], {"type": "order.paid", "username": "Alice"}, *registered[1:])
    sent: list[Told] = []
    failures = ["Bob"]

    def send_email(event: Told) -> None:
        if event["username"] in failures:
            failures.clear()
            raise MailDown("the mail server is down")
        sent.append(event)

    try:
        channel.work(answer, send_email)
    except NoTag:
        return NO_TAG
    except ChannelClosed:
        return TWICE
    emails = Counter(event["username"] for event in sent if event["type"] == "user.registered")
    stuck = next(iter(channel.in_hand.values()), None)
    if len(sent) > sum(emails.values()):
        return WRONG_EMAIL
    if any(event["type"] == "order.paid" for event in channel.refused):
        return REFUSED
    if channel.deliveries == LIMIT:
        return LOOPS
    if stuck is not None:
        foreign = stuck["type"] == "order.paid"
        return STALLS if foreign else IN_HAND if emails[stuck["username"]] else NO_EMAIL if failures else SWALLOWED
    if not emails["Bob"] and not failures:
        return ACK_FIRST
    return NO_EMAIL if len(emails) < 3 else TWO_EMAILS if max(emails.values()) > 1 else None


def _handle(*lines: str) -> str:
    return "def handle(channel, tag, event, send_email):\n" + "\n".join(f"    {line}" for line in lines)


_IF, _SEND, _ACK = "if event['type'] == 'user.registered':", "    send_email(event)", "channel.basic_ack(tag)"
HANDLE = Exercise(
    id="07.2",
    name="handle",
    blank="def handle(channel, tag, event, send_email):\n    ...  # the worker, repaired",
    judge=judge_handle,
    right="Right: whatever it is, when you are done with it you say so, and not before.",
    nudge="Ask of each event, also of one that is not for you: when are you done with it?",
    wrong=(
        (_handle(_IF, _SEND, f"    {_ACK}"), STALLS),
        (_handle(_ACK, _IF, _SEND), ACK_FIRST),
        (_handle("try:", f"    {_IF}", f"    {_SEND}", "finally:", f"    {_ACK}"), ACK_FIRST),
        (_handle(_IF, _SEND, f"    {_ACK}", "else:", "    channel.basic_nack(tag)"), LOOPS),
        (_handle(_IF, _SEND, f"    {_ACK}", "else:", "    channel.basic_nack(tag, requeue=False)"), REFUSED),
        (_handle(_IF, _SEND, "else:", f"    {_ACK}"), IN_HAND),
        (_handle(_IF, _SEND, f"    {_ACK}", _ACK), TWICE),
        (_handle(_IF, "    try:", f"    {_SEND}", "    except Exception:", "        return", _ACK), SWALLOWED),
        (_handle(_IF, _SEND, "channel.basic_ack()"), NO_TAG),
        (_handle(_ACK), NO_EMAIL),
        (_handle(_SEND.strip(), _ACK), WRONG_EMAIL),
        (_handle(_IF, _SEND, _SEND, _ACK), TWO_EMAILS),
    ),
    solution=_handle(_IF, _SEND, _ACK),
)
