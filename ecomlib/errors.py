"""Every error that ecomlib raises on purpose. Each one's text is a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence


class EcomlibError(Exception):
    """The family: whoever wants to catch all of them catches this."""


class BadEvent(EcomlibError, ValueError):
    """An event, or what should have become one, that breaks the rules of its type or of CloudEvents.

    `fields` has each field that is wrong, with its reason, where fields are at fault.
    """

    def __init__(self, message: str, *, field: str = "", fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = ((field, message),) if field else tuple(fields)


class BadType(BadEvent):
    """Text that can't be an event's type."""


class BadPattern(EcomlibError, ValueError):
    """Text that can't be a pattern."""


class BadInput(EcomlibError, ValueError):
    """A file, folder or option from outside that can't be used. The text names the place and what to do."""


class Refused(EcomlibError):
    """A command that the present state forbids. No event was published."""


class Permanent(EcomlibError):
    """Raised by a handler to say that another attempt would fail the same way: the bus does not retry it."""


class KeyReused(Refused):
    """An idempotency key that came again with another request. The first one stands; nothing was changed."""


class BusFull(EcomlibError):
    """A subscription's queue has no room. Nothing was logged and nothing was delivered."""


class BrokerError(EcomlibError):
    """A broker that can't be reached, or that refused what it was asked for."""


class BrokerAway(BrokerError):
    """No answer from the broker for as long as the caller was willing to wait. It may have taken what it was sent."""


class NoSubscriber(EcomlibError):
    """A `mandatory` event that no subscription matches. Nothing was logged."""


class AlreadySubscribed(EcomlibError, ValueError):
    """The handler has this pattern already, or the name is taken."""


class NotSubscribed(EcomlibError, ValueError):
    """Someone who is not subscribed was to be unsubscribed, replayed to or redelivered to."""


class NotDrained(EcomlibError, TimeoutError):
    """Deliveries were left when the time was up. They go on: nothing is cancelled."""


class WrongPlace(EcomlibError, RuntimeError):
    """A call that would wait for itself, such as `drain` inside a handler."""


class LogError(EcomlibError):
    """A log that can't be opened, read or appended to."""


class NotALog(LogError, BadInput):
    """What was named as a log, or as a topic in it, is none. Nothing was changed there."""


class StaleCommit(LogError):
    """A commit by a member of a consumer group that does not hold the partition any more. Nothing was committed."""


class BadOffset(LogError):
    """A consumer group's offset that can't be read, or where the log has no such place. Nothing was changed."""


class DamagedRecord(LogError):
    """A record whose bytes are not those that were appended.

    `resume` is the offset to read on from: the first that is known to come after the damage.
    """

    def __init__(self, message: str, *, topic: str, partition: int, offset: int, position: int, resume: int) -> None:
        super().__init__(message)
        self.topic, self.partition, self.offset = topic, partition, offset
        self.position = position  # in bytes from the start of the partition's file
        self.resume = resume


def named(error: BaseException) -> str:
    """The error's class and its text, even where the text itself can't be made."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its text can't be read: {type(broken).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
