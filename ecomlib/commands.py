"""Commands over a bus: who runs a saga asks, a service in another process obeys, and its answer finds the way back.

A command is an event of a type outside the catalogue, such as `payment.reserve`, on a bus of its own: so nobody who
counts the shop's facts counts commands too. It may be refused; a fact never is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Self

from pydantic import Field

from ecomlib.catalogue import Data, Id, Purchase, read_model
from ecomlib.errors import BadEvent, NoSubscriber, Permanent, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus, Subscription
from ecomlib.services.participant import Participant
from ecomlib.steps import Action


class Command(Data):
    """What a command says: whose answer it wants is the type that the answer gets."""

    key: Id  # the idempotency key, the same in every command that asks for the same thing
    purchase: Purchase
    answer_to: Annotated[str, Field(pattern=r"^answer\.[a-z0-9]{1,100}$")]


def serve(commands: Bus, facts: Bus, service: Participant, *actions: Action, new_event: EventFactory) -> Subscription:
    """Have the service obey: `payments.reserve` becomes the command `payment.reserve`, and so on.

    The subscription has the service's name, so where the engine has queues that outlive a process, all who serve share
    one, and another takes over the command of one who dies. The service's facts are on `facts` before the asker gets
    its answer; those that a crash left in the outbox go out at once. A command that fails is tried again by the bus,
    and nobody is told: the asker's own limit ends its wait. One that can't be read is a dead letter.
    """
    known = {f"{service.name}.{getattr(action, '__name__', '')}": action for action in actions}

    def obey(command: Event) -> None:
        try:
            asked = read_model(Command, command.type, command.data.to_dict())
        except BadEvent as error:
            raise Permanent(str(error)) from error
        answer = {}
        try:
            known[command.type](asked.key, asked.purchase)
        except Refused as refusal:
            answer["refused"] = str(refusal)
        service.relay(facts)
        commands.publish(new_event(asked.answer_to, answer, cause=command))

    service.relay(facts)
    return commands.subscribe(*known, handler=obey, name=service.name, ordered=False)


class Commands:
    """Sends commands, and waits for the answers, which come on a subscription of its own.

    A context manager: at the end of the block it takes no more answers. Any thread may ask, any number at once, but
    none in which the bus delivers: something must be left to deliver the answer.
    """

    def __init__(self, bus: Bus, new_event: EventFactory, *, limit: float = 10.0) -> None:
        """`limit` is how many seconds an answer may take."""
        self._bus, self._new_event, self._limit = bus, new_event, limit
        self._waiting: dict[str, Future[Event]] = {}  # by the id of the command
        self._here = f"answer.{new_event.new_id().replace('-', '')}"  # a type that nobody else has
        self._answers = bus.subscribe(self._here, handler=self._take)

    def to(self, command: str) -> Callable[[str, Purchase], None]:
        """An action for a step of a saga. It blocks until somebody has obeyed the command, wherever that was.

        Raises `Refused`, with the service's reason or because there is no one to ask, and `TimeoutError` without an
        answer. Then nobody knows whether it happened, or will: who asks again with the same key asks safely.
        """

        def ask(key: str, purchase: Purchase) -> None:
            said = {"key": key, "purchase": purchase.to_dict(), "answer_to": self._here}
            asked = self._new_event(command, said)
            waiting = self._waiting[asked.id] = Future()
            try:
                self._bus.publish(asked, mandatory=True)
                answer = waiting.result(self._limit)
            except NoSubscriber as nobody:
                raise Refused(f"Nobody serves {command!r}: start the service that does, and ask again.") from nobody
            except TimeoutError:
                raise TimeoutError(f"no answer to {command!r} within {self._limit:g} s: it may yet happen") from None
            finally:
                del self._waiting[asked.id]  # an answer that comes later finds nobody, and is dropped
            if reason := answer.data.to_dict().get("refused"):
                raise Refused(str(reason))

        ask.__name__ = command.rpartition(".")[2]
        return ask

    def _take(self, answer: Event) -> None:
        waiting = self._waiting.get(answer.causationid or "")
        if waiting is not None and not waiting.done():  # a command that was obeyed twice is answered twice
            waiting.set_result(answer)

    def close(self) -> None:
        self._answers.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
