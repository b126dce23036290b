"""How a message leaves the shop: the sender port, and its two engines."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Literal, Protocol

from ecomlib.errors import BadInput, EcomlibError, Permanent

Channel = Literal["email", "sms"]
BOUNCES = frozenset({"501"})  # in the original, too, this user's mailbox takes nothing


@dataclass(frozen=True)
class Message:
    """What a customer gets. Its id is the same at every attempt, so that a mail program can tell a second copy."""

    id: str
    channel: Channel
    recipient: str
    subject: str
    text: str
    time: datetime


class Sender(Protocol):
    def send(self, message: Message) -> None:
        """Return when the next in the chain has taken it over. Raises `Permanent` where that can never happen."""


class SendFailed(EcomlibError):
    """The message was not taken over this time; the next attempt may succeed."""


class RecordingSender:
    """Keeps what it was given in `sent`, in order: for lessons, panels and tests. With `keep`, only the latest."""

    def __init__(self, bounces: Iterable[str] = BOUNCES, *, keep: int | None = None) -> None:
        self.sent: list[Message] = []
        self.bounces, self._keep = frozenset(bounces), keep

    def send(self, message: Message) -> None:
        if message.recipient in self.bounces:
            raise Permanent(f"The mailbox of user {message.recipient} does not exist: the message bounced.")
        self.sent.append(message)
        if self._keep is not None:
            del self.sent[: -self._keep]


class SmtpSender:
    """Hands messages to a mail server, each in a connection of its own. `send` blocks for up to `timeout` seconds.

    A user's mailbox is `<user id>@<domain>`; an SMS goes to `<user id>@sms.<domain>`, the mail address of a gateway.
    """

    def __init__(self, host: str, port: int = 25, *, domain: str = "customers.example", timeout: float = 10.0) -> None:
        self.host, self.port, self.domain, self.timeout = host, port, domain, timeout

    def send(self, message: Message) -> None:
        """Raises `Permanent` when the server refuses for good (a 5xx answer), `SendFailed` when it may yet take it."""
        if not re.fullmatch(r"[\w.+-]+", message.recipient, re.ASCII):
            raise Permanent(f"User {message.recipient!r} has no address: an address holds letters, digits and '.+-_'.")
        domain = self.domain if message.channel == "email" else f"sms.{self.domain}"
        mail = EmailMessage()
        mail["From"] = f"shop@{self.domain}"
        mail["To"] = f"{message.recipient}@{domain}"
        mail["Subject"] = message.subject
        mail["Date"] = message.time
        mail["Message-ID"] = f"<{message.id}>"
        mail.set_content(message.text)
        try:
            with smtplib.SMTP(self.host, self.port, timeout=self.timeout) as server:
                server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as refused:
            code, answer = next(iter(refused.recipients.values()))
            raise self._failure(code, answer, mail["To"]) from None
        except smtplib.SMTPResponseException as error:
            raise self._failure(error.smtp_code, error.smtp_error, mail["To"]) from None
        except (OSError, smtplib.SMTPException) as error:
            raise SendFailed(f"The mail server at {self.host}:{self.port} can't be reached: {error}.") from error

    def _failure(self, code: int, answer: bytes | str, address: str) -> EcomlibError:
        said = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        kind = Permanent if 500 <= code < 600 else SendFailed  # RFC 5321, section 4.2.1
        return kind(f"The mail server did not take the message for {address}: {code} {said}")


def parse_smtp(place: str) -> SmtpSender:
    """The mail server at "host:port". Raises `BadInput` for what names none; nobody is connected to yet."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@]+):([0-9]{1,5})", place)
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise BadInput(f"{place!r:.60} is no mail server: write its host and its port, like localhost:1025.")
    return SmtpSender(found[1].strip("[]"), int(found[2]))
