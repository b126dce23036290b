"""What the bus on RabbitMQ promises beyond the port: confirms, lost connections, strange messages, dead letters."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pika
import pytest

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.dead_letters import waiting_letters
from ecomlib.errors import BadEvent, BadInput, BrokerAway, BrokerError, NotDrained, NotSubscribed, WrongPlace
from ecomlib.events import Event
from ecomlib.ports import Attempt, DeadLetter, Retry
from ecomlib.publishing import Message
from ecomlib.rabbitmq import RabbitBus
from ecomlib.topology import DELIVERY_LIMIT, SERVICES, pauses
from tests.support.webhook import wait_until

LIMIT = 20.0
QUICK = Retry(attempts=3, pause=0.001)


class Make(Protocol):
    def __call__(self, **more: Any) -> RabbitBus: ...


def created(order_id: int = 1) -> Event:
    return Event("order.created", {"order_id": order_id, "amount": 50})


@pytest.fixture
def exchange() -> str:
    return f"test.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(rabbitmq: PrivateNode, exchange: str) -> Iterator[Make]:
    with ExitStack() as started:

        def make(**more: Any) -> RabbitBus:
            said = {"exchange": exchange, "retry": QUICK, **more}
            return started.enter_context(RabbitBus(said.pop("url", rabbitmq.url), **said))

        yield make


@pytest.fixture
def bus(make: Make) -> RabbitBus:
    return make()


@pytest.fixture
def channel(rabbitmq: PrivateNode) -> Iterator[Any]:
    with channel_to(rabbitmq.url) as channel:
        yield channel


def drop_connections(bus: RabbitBus) -> None:
    """What a router does that goes down: the socket is shut without a word."""
    import socket

    connection = bus.link.connection
    connection._transport._sock.shutdown(socket.SHUT_RDWR)


def exists(node: PrivateNode, queue: str) -> bool:
    try:
        with channel_to(node.url) as channel:
            channel.queue_declare(queue, passive=True)
        return True
    except BrokerError:
        return False


def ready(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


# --- publish ----------------------------------------------------------------------------------------------


def test_a_queue_that_nobody_consumes_yet_takes_what_is_published(bus: RabbitBus, channel: Any) -> None:
    bus.topology.declare(channel, SERVICES)
    receipt = bus.publish(created(), mandatory=True)
    assert receipt
    assert receipt.routed
    assert receipt.subscriptions == ()  # none of this object's
    assert ready(channel, bus.topology.queue("email")) == ready(channel, bus.topology.queue("analytics")) == 1


def test_a_message_is_persistent_and_a_cloudevent(bus: RabbitBus, channel: Any) -> None:
    bus.topology.declare(channel, {"all": ("#",)})
    event = created()
    bus.publish(event)
    method, properties, body = channel.basic_get(bus.topology.queue("all"), auto_ack=True)
    assert (method.exchange, method.routing_key) == (bus.topology.exchange, "order.created")
    assert (properties.delivery_mode, properties.message_id) == (2, event.id)
    assert properties.content_type == "application/cloudevents+json"
    assert Event.from_json(body) == event


def test_many_events_are_on_their_way_at_once_and_stay_in_order(bus: RabbitBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append)
    events = [created(n) for n in range(3_000)]  # three times what may be unconfirmed
    confirmed = [bus.submit(event) for event in events]
    assert all(future.result(LIMIT).routed for future in confirmed)
    bus.drain(LIMIT)
    assert recorder == events


def test_threads_publish_side_by_side_and_each_hears_of_its_own(bus: RabbitBus, recorder: list[Any]) -> None:
    bus.subscribe("order.created", handler=recorder.append)
    heard: list[tuple[Event, bool]] = []

    def publish(n: int) -> None:
        for k in range(20):
            event = created(n * 100 + k) if k % 2 else Event("coffee.spilled", {"n": n, "k": k})
            receipt = bus.publish(event)
            heard.append((receipt.event, receipt.routed))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    bus.drain(LIMIT)
    assert len(heard) == 160
    assert all(routed == (event.type == "order.created") for event, routed in heard)
    assert len(recorder) == 80


def test_an_id_may_be_longer_than_amqp_allows_for_the_id_of_a_message(bus: RabbitBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append)
    event = Event("coffee.spilled", id="é" * 200)
    assert bus.publish(event).routed
    bus.drain(LIMIT)
    assert recorder == [event]


def test_a_message_that_amqp_has_no_form_for_fails_alone(bus: RabbitBus) -> None:
    strange = pika.BasicProperties(headers={"set": {1, 2}}, message_id="strange")
    confirmed = bus._publisher.send(Message(bus.topology.exchange, "order.created", b"{}", strange), LIMIT)
    bus.publish(created())  # behind it, and confirmed
    with pytest.raises(BrokerError, match="can't be sent over AMQP"):
        confirmed.result(LIMIT)


def test_what_is_too_large_for_an_event_is_refused_before_it_is_sent(bus: RabbitBus) -> None:
    with pytest.raises(BadEvent, match="at most 1000000"):
        bus.publish(Event("coffee.spilled", {"text": "x" * 1_000_001}))


def test_a_bus_is_connected_once(make: Make) -> None:
    bus = make()
    with pytest.raises(WrongPlace, match="make a new one"):
        bus.__enter__()
    bus.stop()
    bus.stop()  # does nothing the second time
    with pytest.raises(WrongPlace, match="make a new one"):
        bus.subscribe("#", handler=print)


@pytest.mark.parametrize("name", ["", "\x00", "x" * 300])
def test_a_name_that_no_queue_can_have_is_a_sentence(bus: RabbitBus, name: str) -> None:
    with pytest.raises(BadInput, match="name"):
        bus.subscribe("#", handler=print, name=name)


def test_a_bus_that_is_not_connected_says_so(rabbitmq: PrivateNode) -> None:
    with pytest.raises(WrongPlace, match="with bus:"):
        RabbitBus(rabbitmq.url).publish(created())


# --- connections ------------------------------------------------------------------------------------------


def test_a_lost_connection_is_made_again_and_nothing_is_lost(bus: RabbitBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append, name="all")
    events = [created(n) for n in range(300)]
    confirmed = []
    for n, event in enumerate(events):
        confirmed.append(bus.submit(event))
        if n == 150:
            wait_until(lambda: bool(recorder))
            drop_connections(bus)
    assert all(future.result(LIMIT).routed for future in confirmed)
    bus.drain(LIMIT)
    assert {event.id for event in recorder} == {event.id for event in events}


def test_a_temporary_queue_outlives_a_lost_connection(bus: RabbitBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append)
    drop_connections(bus)
    event = created()
    assert bus.publish(event).routed
    bus.drain(LIMIT)
    assert recorder == [event]


def test_a_publisher_waits_for_a_broker_that_is_away_and_then_says_so(make: Make, rabbitmq: PrivateNode) -> None:
    bus = make(patience=0.5)
    bus.link.url = bus.link.url.replace("127.0.0.1", "127.0.0.9")  # from now on nobody answers there
    bus.link._parameters.host = "127.0.0.9"
    drop_connections(bus)
    event = created()
    with pytest.raises(BrokerAway, match=rf"order\.created {event.id} was not confirmed within 0\.5 s.*No RabbitMQ"):
        bus.publish(event)


def test_a_queue_that_somebody_deletes_is_declared_again(bus: RabbitBus, channel: Any, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append, name="all")
    bus.publish(created(1))
    bus.drain(LIMIT)
    channel.queue_delete(bus.topology.queue("all"))
    wait_until(lambda: bool(bus.publish(created(2))))
    wait_until(lambda: len(recorder) >= 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("guest:guest", "guest:wrong"), "does not let 'guest' in with this password"),
        (("127.0.0.1", "127.0.0.9"), "No RabbitMQ answers at 127.0.0.9"),
        (("127.0.0.1", "no-such-host.invalid"), "There is no host named 'no-such-host.invalid'"),
        (("amqp://", "http://"), "is no address of a RabbitMQ"),
        (("/", "/nowhere"), "nowhere"),
        (("guest:guest", "guest:sec/ret"), "is no address of a RabbitMQ"),
        (("guest:guest", "guest:sec#ret"), "is no address of a RabbitMQ"),
        (("guest:guest", "guest:sec?ret"), "is no address of a RabbitMQ"),
    ],
    ids=["password", "nobody there", "host", "no address", "virtual host", "slash", "hash", "question mark"],
)
def test_a_broker_that_cannot_be_used_is_a_sentence(rabbitmq: PrivateNode, change: tuple[str, str], said: str) -> None:
    url = rabbitmq.url.rstrip("/") + "/nowhere" if change[0] == "/" else rabbitmq.url.replace(*change)
    with pytest.raises(BrokerError, match=said) as raised, RabbitBus(url):
        pass
    assert "ret" not in str(raised.value)  # no part of a password


def test_something_else_that_listens_is_a_sentence(rabbitmq: PrivateNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The management page speaks HTTP; it would wait for ever for the end of our first line."""
    monkeypatch.setattr("ecomlib.amqp.SECONDS", 0.5)
    assert rabbitmq.management_url is not None
    address = rabbitmq.management_url.removeprefix("http://").strip("/")
    with pytest.raises(BrokerError, match=r"No RabbitMQ answers|does not speak AMQP"), RabbitBus(f"amqp://{address}/"):
        pass


def test_a_queue_that_exists_with_other_arguments_is_a_sentence(bus: RabbitBus, channel: Any) -> None:
    channel.queue_declare(bus.topology.queue("email"), durable=True)  # a classic one
    with pytest.raises(BrokerError, match=r"has this already, with other arguments: .*inequivalent arg.*delete it"):
        bus.subscribe("order.*", handler=print, name="email")
    bus.subscribe("order.*", handler=print, name="other")  # the bus goes on


def test_a_subscription_that_is_cancelled_at_once_leaves_no_queue(make: Make, rabbitmq: PrivateNode) -> None:
    bus = make()
    queues = []
    for _ in range(20):
        subscription = bus.subscribe("#", handler=print)
        queues.append(subscription.queue)
        subscription.cancel()
    for queue in queues:
        wait_until(lambda name=queue: not exists(rabbitmq, name))  # type: ignore[misc]
    assert [thread for thread in threading.enumerate() if "print" in thread.name] == []


def test_a_bus_that_could_not_connect_leaves_no_thread(rabbitmq: PrivateNode) -> None:
    before = threading.active_count()
    bus = RabbitBus(rabbitmq.url.replace("guest:guest", "guest:wrong"))
    bus.subscribe("#", handler=print)
    with pytest.raises(BrokerError), bus:
        pass
    assert threading.active_count() == before


@pytest.mark.parametrize("wrong", [{"prefetch": 0}, {"prefetch": -1}, {"prefetch": 70_000}, {"keep": 0}])
def test_impossible_numbers_are_a_sentence(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=f"needs {next(iter(wrong))} from 1 to"):
        RabbitBus("amqp://guest:guest@127.0.0.1:1/", **wrong)  # type: ignore[arg-type]


# --- consume ----------------------------------------------------------------------------------------------


def test_two_objects_share_a_named_queue_and_each_event_goes_to_one_of_them(make: Make) -> None:
    first, second = make(prefetch=1), make(prefetch=1)
    taken: dict[str, list[Event]] = {"first": [], "second": []}
    both = threading.Barrier(2)

    def handler(name: str) -> Callable[[Event], None]:
        def handle(event: Event) -> None:
            if not taken[name]:
                both.wait(LIMIT)  # so that each has had one, however fast the other is
            taken[name].append(event)

        return handle

    first.subscribe("#", handler=handler("first"), name="shared")
    second.subscribe("#", handler=handler("second"), name="shared")
    events = [created(n) for n in range(20)]
    for event in events:
        first.publish(event)
    first.drain(LIMIT)
    second.drain(LIMIT)
    assert taken["first"]
    assert taken["second"]
    assert sorted(e.id for e in taken["first"] + taken["second"]) == sorted(e.id for e in events)


def test_a_handler_that_takes_longer_than_two_heartbeats_loses_no_connection(
    make: Make, rabbitmq: PrivateNode, recorder: list[Any]
) -> None:
    """Here 3 seconds beside a heartbeat of 1; the broker closes a connection that is silent for two of them."""
    bus = make(url=f"{rabbitmq.url}?heartbeat=1")
    connection = bus.link.connection
    done = threading.Event()
    bus.subscribe("#", handler=lambda event: recorder.append(done.wait(3)), name="slow")
    bus.publish(created())
    bus.drain(LIMIT)
    assert recorder == [False]  # once: it waited to the end, and was not given to it again
    assert bus.link.connection is connection


def test_stopping_finishes_what_runs_and_gives_back_the_rest(make: Make, channel: Any) -> None:
    bus = make(prefetch=10)
    running, go_on, handled = threading.Event(), threading.Event(), list[Event]()

    def handle(event: Event) -> None:
        running.set()
        go_on.wait(LIMIT)
        handled.append(event)

    bus.subscribe("#", handler=handle, name="slow")
    for n in range(5):
        bus.publish(created(n))
    assert running.wait(LIMIT)
    stopping = threading.Thread(target=bus.stop)
    stopping.start()
    wait_until(lambda: ready(channel, bus.topology.queue("slow")) == 4)
    go_on.set()
    stopping.join(LIMIT)
    assert len(handled) == 1
    assert ready(channel, bus.topology.queue("slow")) == 4  # and the one is acknowledged


def test_a_handler_that_does_not_end_is_named_when_the_bus_stops(make: Make) -> None:
    bus = make()
    running, go_on = threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        running.set()
        go_on.wait(LIMIT)

    bus.subscribe("#", handler=handle, name="endless")
    bus.publish(created())
    assert running.wait(LIMIT)
    with pytest.raises(NotDrained, match="endless"):
        bus.stop(timeout=0.1)
    go_on.set()


def test_an_attempt_is_told_to_whoever_asked(make: Make, recorder: list[Attempt]) -> None:
    bus = make(on_attempt=recorder.append)
    bus.subscribe("#", handler=lambda event: 1 / 0, name="broken", ordered=False)
    bus.publish(created())
    bus.drain(LIMIT)
    assert [(a.subscription, a.number, a.outcome) for a in recorder] == [
        ("broken", 1, "failed"),
        ("broken", 2, "failed"),
        ("broken", 3, "dead"),
    ]


# --- strange messages and dead letters --------------------------------------------------------------------


def publish_raw(channel: Any, exchange: str, key: str, body: bytes, content: str | None = None) -> None:
    channel.basic_publish(exchange, key, body, pika.BasicProperties(content_type=content, message_id="raw"))


@pytest.mark.parametrize(
    ("body", "content", "said"),
    [
        (b"\xff\x00 rubbish", None, "is not JSON"),
        (b'{"type": "order.created"}', "application/json", "no CloudEvents 1.0 event"),
        (created().to_json().encode(), "text/plain", "Its content type is 'text/plain'"),
        (b"x" * 20_000_000, "application/cloudevents+json", "It has 20000000 bytes"),
        (Event("order.shipped", {"order_id": 1}).to_json().encode(), None, "order.shipped is not for this queue"),
    ],
    ids=["rubbish", "no event", "content type", "20 MB", "another type"],
)
@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
def test_what_is_no_event_becomes_a_dead_letter_with_the_reason(
    bus: RabbitBus, channel: Any, recorder: list[Any], body: bytes, content: str | None, said: str, ordered: bool
) -> None:
    bus.subscribe("order.created", handler=recorder.append, name="all", ordered=ordered)
    publish_raw(channel, bus.topology.exchange, "order.created", body, content)
    event = created(2)
    bus.publish(event)
    bus.drain(LIMIT)
    assert recorder == [event]  # alive, and the others are unharmed
    wait_until(lambda: ready(channel, bus.topology.dead) == 1)
    method, properties, kept = channel.basic_get(bus.topology.dead, auto_ack=True)
    assert kept == body
    assert properties.content_type == content
    assert said in properties.headers["error"]
    assert (properties.headers["subscription"], properties.headers["attempts"]) == ("all", 0)
    assert method.routing_key == bus.topology.queue("all")


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
def test_a_poison_message_gets_its_attempts_and_harms_no_other(
    bus: RabbitBus, rabbitmq: PrivateNode, recorder: list[Any], ordered: bool
) -> None:
    poison, others = created(13), [created(n) for n in range(5)]

    def handle(event: Event) -> None:
        if event == poison:
            raise ValueError("thirteen")
        recorder.append(event)

    bus.subscribe("#", handler=handle, name="all", ordered=ordered)
    for event in (*others[:2], poison, *others[2:]):
        bus.publish(event)
    bus.drain(LIMIT)
    assert recorder == others
    letter = DeadLetter(poison, "all", 3, "ValueError: thirteen")
    assert bus.dead_letters == (letter,)
    assert waiting_letters(rabbitmq.url, bus.topology) == [letter]


def test_a_dead_letter_is_taken_up_again_by_another_process_than_the_one_that_gave_it_up(
    make: Make, rabbitmq: PrivateNode, recorder: list[Any]
) -> None:
    first = make()
    first.subscribe("#", handler=lambda event: 1 / 0, name="all", ordered=False)
    event = created()
    first.publish(event)
    first.drain(LIMIT)
    first.stop()
    second = make()
    second.subscribe("#", handler=recorder.append, name="all", ordered=False)
    (letter,) = waiting_letters(rabbitmq.url, second.topology)
    second.redeliver(letter)
    second.drain(LIMIT)
    assert recorder == [event]
    assert [a.number for a in second.attempts] == [4]
    assert waiting_letters(rabbitmq.url, second.topology) == []
    with pytest.raises(NotSubscribed, match="no such dead letter"):
        second.redeliver(letter)


def test_an_event_that_says_no_time_can_be_taken_up_again(
    bus: RabbitBus, channel: Any, rabbitmq: PrivateNode, recorder: list[Any]
) -> None:
    """CloudEvents leaves the time out where it wants to; then each reading gives it another."""
    broken = [True]
    bus.subscribe("#", handler=lambda event: 1 / 0 if broken else recorder.append(event), name="all")
    publish_raw(channel, bus.topology.exchange, "a", b'{"specversion": "1.0", "id": "1", "source": "/a", "type": "a"}')
    wait_until(lambda: bool(bus.dead_letters))
    broken.clear()
    bus.redeliver(waiting_letters(rabbitmq.url, bus.topology)[0])
    bus.drain(LIMIT)
    assert [event.id for event in recorder] == ["1"]
    assert bus.dead_letters == ()


@pytest.mark.parametrize("long", ["x" * 130_900, "☕" * 43_000], ids=["ascii", "utf-8"])
def test_headers_that_leave_no_room_for_the_reason_are_left_out(bus: RabbitBus, channel: Any, long: str) -> None:
    bus.subscribe("#", handler=print, name="all")
    said = pika.BasicProperties(headers={"long": long}, message_id="strange")
    channel.basic_publish(bus.topology.exchange, "order.created", b"no event", said)
    wait_until(lambda: ready(channel, bus.topology.dead) == 1)
    assert "not JSON" in channel.basic_get(bus.topology.dead, auto_ack=True)[1].headers["error"]


def test_a_stranger_s_wish_for_copies_is_not_multiplied_by_the_attempts(bus: RabbitBus, channel: Any) -> None:
    bus.subscribe("order.*", handler=lambda event: 1 / 0, name="all", ordered=False)
    said = pika.BasicProperties(headers={"CC": ["order.paid"]}, message_id="copied")
    channel.basic_publish(bus.topology.exchange, "order.created", created().to_json().encode(), said)
    wait_until(lambda: bool(bus.dead_letters))
    bus.drain(LIMIT)
    assert len(bus.attempts) == 3


def test_an_exchange_that_somebody_deletes_is_declared_again(bus: RabbitBus, channel: Any, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append, name="all")
    channel.exchange_delete(bus.topology.exchange)
    event = created()
    assert bus.publish(event, mandatory=True).routed
    bus.drain(LIMIT)
    assert recorder == [event]


def test_what_expired_in_a_queue_was_never_attempted(bus: RabbitBus, channel: Any, rabbitmq: PrivateNode) -> None:
    bus.topology.declare(channel, {"all": ("#",)})
    said = pika.BasicProperties(expiration="1", message_id="expired")
    channel.basic_publish(bus.topology.exchange, "order.created", created().to_json().encode(), said)
    wait_until(lambda: ready(channel, bus.topology.dead) == 1)
    (letter,) = waiting_letters(rabbitmq.url, bus.topology)
    assert (letter.attempts, letter.error) == (0, "RabbitMQ gave it up (expired).")


@pytest.mark.parametrize("headers", [{"last": 12}, {"attempts": 2, "last": 3}, {"attempts": -1, "last": "many"}])
def test_what_strangers_write_into_the_headers_of_attempts_harms_nobody(
    bus: RabbitBus, channel: Any, headers: dict[str, Any]
) -> None:
    bus.subscribe("#", handler=lambda event: 1 / 0, name="all", ordered=False)
    said = pika.BasicProperties(headers=headers, message_id="strange")
    channel.basic_publish(bus.topology.exchange, "order.created", created().to_json().encode(), said)
    wait_until(lambda: bool(bus.dead_letters))
    assert 1 <= len(bus.attempts) <= 3


def test_a_delay_queue_that_somebody_deletes_is_declared_again(bus: RabbitBus, channel: Any) -> None:
    bus.subscribe("#", handler=lambda event: 1 / 0, name="all", ordered=False, retry=Retry(2, pause=0.007))
    channel.exchange_delete(bus.topology.delay(0.007))
    channel.queue_delete(bus.topology.delay(0.007))
    bus.publish(created())
    wait_until(lambda: bool(bus.dead_letters))


def test_attempts_without_end_have_no_queues_without_end() -> None:
    assert pauses(Retry(attempts=1_000_000_000, pause=1, longest=60)) == [1, 2, 4, 8, 16, 32, 60]
    assert pauses(Retry(attempts=1)) == []
    assert pauses(Retry(attempts=5, pause=0)) == [0]


def test_a_message_that_is_only_given_back_is_no_dead_letter(bus: RabbitBus, channel: Any) -> None:
    """As by workers that are stopped before its turn, again and again."""
    bus.topology.declare(channel, {"all": ("#",)})
    bus.publish(created())
    for _ in range(DELIVERY_LIMIT // 2):
        wait_until(lambda: ready(channel, bus.topology.queue("all")) == 1)
        channel.basic_nack(channel.basic_get(bus.topology.queue("all"))[0].delivery_tag)
    wait_until(lambda: ready(channel, bus.topology.queue("all")) == 1)
    assert ready(channel, bus.topology.dead) == 0


def test_a_message_over_which_every_worker_dies_ends_as_a_dead_letter_too(
    bus: RabbitBus, channel: Any, rabbitmq: PrivateNode
) -> None:
    """Each death gives it back to the queue; the queue counts, and gives up."""
    bus.topology.declare(channel, {"all": ("#",)})
    event = created()
    bus.publish(event)
    for _ in range(DELIVERY_LIMIT + 1):
        wait_until(lambda: ready(channel, bus.topology.queue("all")) == 1)
        method, _, _ = channel.basic_get(bus.topology.queue("all"))
        channel.basic_nack(method.delivery_tag)
    wait_until(lambda: ready(channel, bus.topology.dead) == 1)
    (letter,) = waiting_letters(rabbitmq.url, bus.topology)
    assert (letter.event, letter.subscription, letter.attempts) == (event, "all", DELIVERY_LIMIT + 1)
    assert "delivery_limit" in letter.error


def test_dead_letters_are_handed_to_whoever_subscribes_to_them(bus: RabbitBus, channel: Any) -> None:
    letters: list[DeadLetter] = []

    def fail(letter: DeadLetter) -> None:
        letters.append(letter)
        raise RuntimeError("cannot even tell")

    bus.subscribe("order.created", handler=lambda event: 1 / 0, name="broken", retry=Retry(attempts=1))
    bus.subscribe_dead_letters(handler=fail, name="failures", retry=Retry(attempts=2, pause=0.001))
    publish_raw(channel, bus.topology.exchange, "order.created", b"no event")  # a dead letter that is no event
    event = created()
    bus.publish(event)
    bus.drain(LIMIT)
    assert letters == [DeadLetter(event, "broken", 1, "ZeroDivisionError: division by zero")] * 2
    assert ready(channel, bus.topology.dead) == 3  # its own is one as well, and is not handed to it again


def test_a_delivery_is_not_acknowledged_where_its_dead_letter_could_go_nowhere(
    bus: RabbitBus, channel: Any, rabbitmq: PrivateNode
) -> None:
    bus.subscribe("#", handler=lambda event: 1 / 0, name="broken", retry=Retry(attempts=1))
    channel.queue_delete(bus.topology.dead)
    bus.publish(created())
    wait_until(lambda: bool(bus.dead_letters))
    assert [letter.event for letter in waiting_letters(rabbitmq.url, bus.topology)] == [bus.dead_letters[0].event]


def test_a_watcher_that_fails_ends_its_subscription_and_gives_the_event_to_others(
    make: Make, recorder: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", recorder.append)  # it is told; here, to us

    def complain(attempt: Attempt) -> None:
        raise OSError("nobody reads our standard error")

    watched, other = make(on_attempt=complain), make()
    subscription = watched.subscribe("#", handler=lambda event: None, name="all")
    watched.publish(created())
    wait_until(lambda: subscription.cancelled)
    got: list[Event] = []
    other.subscribe("#", handler=got.append, name="all")
    wait_until(lambda: bool(got))
    assert "nobody reads" in str(recorder[0].exc_value)
