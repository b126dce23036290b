"""The saga: every step done or every step undone, whatever fails and whenever the runner dies."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomlib.catalogue import Data
from ecomlib.clock import Clock, SimulatedClock, SystemClock
from ecomlib.errors import BadInput, DamagedRecord, KeyReused, LogError, Permanent, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.ports import Position, Retry
from ecomlib.saga import TOPIC, SagaRunner
from ecomlib.steps import Saga, Step
from ecomlib.story import Story

LIMIT = 20.0  # seconds
REQUEST = Data.model_validate({"order_id": "1"})
How = Literal["works", "fails before", "fails after", "refuses", "permanent", "dies before", "dies after"]


class Died(BaseException):
    """The process is gone: nobody who lives may catch this."""


@dataclass
class World:
    """Services that are once in effect by their key, and fail as planned: by step, kind and attempt."""

    plans: dict[tuple[str, str], list[How]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)  # steps whose action is in effect
    undone: set[str] = field(default_factory=set)  # steps whose compensation has come, so that their action is refused
    calls: list[str] = field(default_factory=list)
    keys: dict[str, set[str]] = field(default_factory=dict)

    def action(self, step: str) -> Callable[[str, Any], None]:
        def act() -> None:
            if step in self.undone:
                raise Refused(f"{step} was cancelled")
            self.done.add(step)

        return self._part(step, "step", act)

    def compensation(self, step: str) -> Callable[[str, Any], None]:
        def undo() -> None:
            self.undone.add(step)
            self.done.discard(step)

        return self._part(step, "compensation", undo)

    def _part(self, step: str, kind: str, effect: Callable[[], None]) -> Callable[[str, Any], None]:
        def call(key: str, request: Any) -> None:
            self.calls.append(f"{step} {kind}")
            self.keys.setdefault(f"{step} {kind}", set()).add(key)
            plan = self.plans.get((step, kind), [])
            how = plan.pop(0) if plan else "works"
            if how == "refuses":
                raise Refused(f"{step} says no")
            if how in ("fails before", "dies before"):
                raise Died if how == "dies before" else ConnectionError(f"{step} is away")
            effect()
            if how == "permanent":
                raise Permanent(f"{step} will never work")
            if how in ("fails after", "dies after"):
                raise Died if how == "dies after" else ConnectionError(f"the answer of {step} got lost")

        return call

    def saga(self, *names: str, pivot: str, retry: Retry = Retry(2, 0.0)) -> Saga:  # noqa: B008  (immutable)
        return Saga(
            "test",
            tuple(
                Step(name, self.action(name), self.compensation(name), pivot=name == pivot, retry=retry)
                for name in names
            ),
        )


class MortalLog(FileLog):
    """Dies before or after the appends whose numbers it is told."""

    def __init__(self, folder: Path, deaths: dict[int, str] | None = None) -> None:
        super().__init__(folder, durability="system")
        self.deaths, self.appends = deaths or {}, 0

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        self.appends += 1
        if self.deaths.get(self.appends) == "before":
            raise Died
        positions = super().append(topic, *events)
        if self.deaths.get(self.appends) == "after":
            raise Died
        return positions


def a_runner(saga: Saga, log: FileLog, clock: Clock | None = None) -> SagaRunner:
    return SagaRunner(
        saga, log, FileLocks(log.folder.parent / "sagas"), EventFactory("/saga", clock or SimulatedClock())
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    with FileLog(tmp_path / "log", durability="system") as log:
        yield log


@pytest.fixture
def world() -> World:
    return World()


def told(log: FileLog) -> list[str]:
    """The log in short: `order ✓` for a step that was done, `order ↶` for one that was compensated."""
    return [f"{r.event.data.step or ''} {r.event.type}".strip() for r in log.read(TOPIC)]


def tried(story: Story) -> list[tuple[str, str, str]]:
    return [(attempt.step, attempt.kind, attempt.verdict) for attempt in story.tried]


# --- one saga, read as sentences --------------------------------------------------------------------------------


def test_a_saga_whose_steps_all_work_is_completed_and_its_log_says_so(world: World, log: FileLog) -> None:
    story = a_runner(world.saga("order", "payment", pivot="payment"), log).start("s1", REQUEST)
    assert story.outcome == "completed"
    assert world.done == {"order", "payment"}
    assert told(log) == [
        "saga.started", "order step.started", "order step.done", "payment step.started", "payment step.done",
        "saga.completed",
    ]  # fmt: skip


def test_what_is_refused_did_not_happen_and_what_came_before_it_is_compensated_in_reverse(
    world: World, log: FileLog
) -> None:
    world.plans["inventory", "step"] = ["refuses"]
    saga = world.saga("order", "payment", "inventory", "delivery", pivot="delivery")
    story = a_runner(saga, log).start("s1", REQUEST)
    assert (story.outcome, story.reason) == ("compensated", "inventory says no")
    assert world.done == set()
    assert world.calls == [
        "order step", "payment step", "inventory step", "payment compensation", "order compensation",
    ]  # fmt: skip


def test_a_step_in_doubt_is_compensated_too_for_it_may_have_happened(world: World, log: FileLog) -> None:
    world.plans["payment", "step"] = ["fails after", "fails before"]
    story = a_runner(world.saga("order", "payment", "delivery", pivot="delivery"), log).start("s1", REQUEST)
    assert tried(story)[1:] == [
        ("payment", "step", "failed"),
        ("payment", "step", "failed"),
        ("payment", "compensation", "done"),
        ("order", "compensation", "done"),
    ]
    assert world.done == set()


def test_a_refusal_after_an_attempt_in_doubt_leaves_the_doubt(world: World, log: FileLog) -> None:
    world.plans["payment", "step"] = ["fails after", "refuses"]
    story = a_runner(world.saga("order", "payment", pivot="payment"), log).start("s1", REQUEST)
    assert "payment compensation" in world.calls
    assert (story.outcome, world.done) == ("compensated", set())


def test_a_permanent_error_is_not_retried_and_leaves_a_doubt(world: World, log: FileLog) -> None:
    world.plans["payment", "step"] = ["permanent"]
    a_runner(world.saga("order", "payment", pivot="payment"), log).start("s1", REQUEST)
    assert world.calls == ["order step", "payment step", "payment compensation", "order compensation"]


def test_every_attempt_has_the_same_key_and_the_compensation_has_its_own(world: World, log: FileLog) -> None:
    world.plans["order", "step"] = ["fails before"]
    world.plans["payment", "step"] = ["refuses"]
    world.plans["order", "compensation"] = ["fails after"]
    a_runner(world.saga("order", "payment", pivot="payment"), log).start("s1", REQUEST)
    assert world.keys["order step"] == {"s1.order.step"}
    assert world.keys["order compensation"] == {"s1.order.compensation"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError("half \ud800"), "RuntimeError: half ?"),
    ],
)
def test_whatever_an_action_raises_the_log_can_say_it(log: FileLog, error: Exception, said: str) -> None:
    def fail(key: str, request: Any) -> None:
        raise error

    story = a_runner(Saga("test", (Step("order", fail, pivot=True, retry=Retry(1)),)), log).start("s1", REQUEST)
    assert (story.outcome, story.reason) == ("compensated", said)


def test_a_log_that_can_not_be_read_holds_no_saga(log: FileLog, world: World) -> None:
    saga = world.saga("order", pivot="order")
    a_runner(saga, log).start("s1", REQUEST)
    file = log.folder / TOPIC / "0.log"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"order"', b'"wrong"', 1))
    runner = a_runner(saga, log)
    with pytest.raises(DamagedRecord):
        runner.start("s1", REQUEST)
    file.write_bytes(whole)
    assert a_runner(saga, log).start("s1", REQUEST).outcome == "completed"


def test_between_attempts_the_runner_waits_by_its_clock(world: World, log: FileLog) -> None:
    world.plans["order", "step"] = ["fails before", "fails before"]
    clock = SimulatedClock()
    began = clock.now()
    saga = world.saga("order", pivot="order", retry=Retry(3, 60.0, 3600.0))
    assert a_runner(saga, log, clock).start("s1", REQUEST).outcome == "completed"
    assert (clock.now() - began).total_seconds() == 60 + 120


def test_behind_the_pivot_there_is_no_way_back_only_forward_or_stuck(world: World, log: FileLog) -> None:
    world.plans["thanks", "step"] = ["fails before", "refuses"]
    runner = a_runner(world.saga("payment", "delivery", "thanks", pivot="delivery"), log)
    story = runner.start("s1", REQUEST)
    assert story.outcome == "stuck"
    assert "thanks (thanks says no)" in story.reason
    assert "resume the saga s1" in story.reason
    assert world.done == {"payment", "delivery"}
    assert runner.resume("s1").outcome == "completed"
    assert world.done == {"payment", "delivery", "thanks"}


def test_a_compensation_that_keeps_failing_blocks_no_other_and_can_be_resumed(world: World, log: FileLog) -> None:
    world.plans["delivery", "step"] = ["refuses"]
    world.plans["payment", "compensation"] = ["fails before", "fails before"]
    runner = a_runner(world.saga("order", "payment", "delivery", pivot="delivery"), log)
    story = runner.start("s1", REQUEST)
    assert story.outcome == "stuck"
    assert "payment (ConnectionError: payment is away)" in story.reason
    assert world.done == {"payment"}  # and the order is compensated
    story = runner.resume("s1")
    assert (story.outcome, story.reason) == ("compensated", "delivery says no")
    assert world.done == set()


def test_a_runner_knows_what_a_new_one_reads_from_the_log_however_often_it_reads_it(world: World, log: FileLog) -> None:
    world.plans["order", "step"] = ["works", "refuses", "fails before"]
    saga = world.saga("order", pivot="order")
    runner = a_runner(saga, log)
    for saga_id in ("s1", "s2", "s3"):
        runner.start(saga_id, REQUEST)
    other = a_runner(saga, log)
    other.recover()
    for mine, read in zip(runner.stories.values(), other.stories.values(), strict=True):
        assert (mine.id, mine.outcome, mine.tried) == (read.id, read.outcome, read.tried)
        assert [now for now in mine.progress.values() if now.verdict] == [*read.progress.values()]


def test_only_what_is_stuck_is_resumed(world: World, log: FileLog) -> None:
    runner = a_runner(world.saga("order", pivot="order"), log)
    runner.start("s1", REQUEST)
    for saga_id in ("s1", "s2"):
        with pytest.raises(Refused, match=r"no saga .* that is stuck"):
            runner.resume(saga_id)


def test_the_same_saga_started_again_is_not_run_again(world: World, log: FileLog) -> None:
    saga = world.saga("order", pivot="order")
    first = a_runner(saga, log).start("s1", REQUEST)
    again = a_runner(saga, log).start("s1", REQUEST)  # by another runner, as after a restart
    assert again.tried == first.tried
    assert world.calls == ["order step"]


def test_another_request_under_the_same_id_is_refused(world: World, log: FileLog) -> None:
    runner = a_runner(world.saga("order", pivot="order"), log)
    runner.start("s1", REQUEST)
    with pytest.raises(KeyReused, match="for another request"):
        runner.start("s1", Data.model_validate({"order_id": "2"}))
    assert world.calls == ["order step"]


def test_a_step_that_takes_too_long_has_failed_and_what_it_does_late_is_refused(log: FileLog) -> None:
    go_on, came_late = threading.Event(), threading.Event()
    world = World()
    late: list[str] = []

    def slow(key: str, request: Any) -> None:
        assert go_on.wait(LIMIT)
        try:
            world.action("payment")(key, request)
        except Refused as error:
            late.append(str(error))
        came_late.set()

    step = Step("payment", slow, world.compensation("payment"), pivot=True, retry=Retry(1), limit=0.01)
    story = a_runner(Saga("test", (step,)), log).start("s1", REQUEST)
    assert story.outcome == "compensated"
    assert "no answer within 0.01 s" in story.tried[0].error
    go_on.set()
    assert came_late.wait(LIMIT)
    assert (late, world.done) == (["payment was cancelled"], set())


@pytest.mark.parametrize("pivots", [[], ["a", "b"]])
def test_a_table_needs_one_pivot(pivots: list[str]) -> None:
    with pytest.raises(BadInput, match="one pivot"):
        Saga("test", tuple(Step(name, print, pivot=name in pivots) for name in ("a", "b")))


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match="names of their own"):
        Saga("test", (Step("a", print, pivot=True), Step("a", print)))


@pytest.mark.parametrize("saga_id", ["", "a/b", "..\n", "..", ".s1", "x" * 101, "é"])
def test_an_id_that_is_none_is_refused(saga_id: str, world: World, log: FileLog) -> None:
    with pytest.raises(BadInput, match="is no saga's id"):
        a_runner(world.saga("order", pivot="order"), log).start(saga_id, REQUEST)
    assert not log.folder.exists() or TOPIC not in log.topics()


def test_a_compensation_that_a_kill_cuts_off_is_begun_again_however_often(world: World, log: FileLog) -> None:
    world.plans["payment", "step"] = ["refuses"]
    world.plans["order", "compensation"] = ["dies before", "dies after", "dies before", "dies before", "dies after"]
    saga = world.saga("order", "payment", pivot="payment", retry=Retry(2, 0.0))
    with pytest.raises(Died):
        a_runner(saga, log).start("s1", REQUEST)
    for _ in range(4):
        with pytest.raises(Died):
            a_runner(saga, log).recover()
    (story,) = a_runner(saga, log).recover()
    assert (story.outcome, world.done) == ("compensated", set())
    assert story.tried[-1].attempt == 6


def test_what_comes_behind_the_pivot_is_begun_again_however_often_a_kill_cuts_it_off(
    world: World, log: FileLog
) -> None:
    world.plans["thanks", "step"] = ["dies before"] * 4
    saga = world.saga("payment", "thanks", pivot="payment", retry=Retry(2, 0.0))
    with pytest.raises(Died):
        a_runner(saga, log).start("s1", REQUEST)
    for _ in range(3):
        with pytest.raises(Died):
            a_runner(saga, log).recover()
    assert [story.outcome for story in a_runner(saga, log).recover()] == ["completed"]


def test_an_action_that_kills_its_runner_each_time_does_not_do_so_for_ever(world: World, log: FileLog) -> None:
    world.plans["payment", "step"] = ["dies before"] * 9
    saga = world.saga("order", "payment", pivot="payment", retry=Retry(3, 0.0))
    with pytest.raises(Died):
        a_runner(saga, log).start("s1", REQUEST)
    for _ in range(2):
        with pytest.raises(Died):
            a_runner(saga, log).recover()
    (story,) = a_runner(saga, log).recover()
    assert (story.outcome, story.reason) == ("compensated", "every attempt was cut off")
    assert "payment compensation" in world.calls


# --- several runners --------------------------------------------------------------------------------------------


def test_two_runners_never_run_one_saga_at_once(log: FileLog) -> None:
    inside, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    def wait_for_it(key: str, request: Any) -> None:
        calls.append(key)
        inside.set()
        assert go_on.wait(LIMIT)

    saga = Saga("test", (Step("order", wait_for_it, pivot=True, limit=LIMIT),))
    first = threading.Thread(target=lambda: a_runner(saga, log).start("s1", REQUEST))
    first.start()
    assert inside.wait(LIMIT)
    with FileLog(log.folder, durability="system") as beside:
        other = a_runner(saga, beside)
        assert other.recover() == []  # it is open, but somebody is at it
        with pytest.raises(Refused, match="run by somebody else"):
            other.start("s1", REQUEST)
        go_on.set()
        first.join(LIMIT)
        assert other.recover() == []  # it has ended
    assert calls == ["s1.order.step"]


def test_a_runner_that_gets_the_lock_believes_the_log_and_not_what_it_read_before(log: FileLog, world: World) -> None:
    world.plans["order", "step"] = ["dies before"]
    saga = world.saga("order", pivot="order")
    with pytest.raises(Died):
        a_runner(saga, log).start("s1", REQUEST)
    other = a_runner(saga, log)
    other.catch_up()  # sees it open
    assert [story.outcome for story in a_runner(saga, log).recover()] == ["completed"]
    assert other._take_up("s1") is None
    assert told(log).count("saga.completed") == 1


def test_sagas_of_another_table_are_left_to_their_own_runner(log: FileLog, world: World) -> None:
    world.plans["order", "step"] = ["dies before"]
    with pytest.raises(Died):
        a_runner(world.saga("order", pivot="order"), log).start("s1", REQUEST)
    other = Saga("returns", (Step("parcel", print, pivot=True),))
    assert a_runner(other, log).recover() == []
    with pytest.raises(Refused, match="The saga s1 is one of 'test', not of 'returns'"):
        a_runner(other, log).start("s1", REQUEST)
    with pytest.raises(Refused, match="The saga s1 is one of 'test', not of 'returns'"):
        a_runner(other, log).resume("s1")


def test_a_saga_may_be_the_first_thing_in_a_new_folder(tmp_path: Path, world: World) -> None:
    with FileLog(tmp_path / "log") as log:
        locks = FileLocks(log.folder / "_sagas")  # made before the log itself
        runner = SagaRunner(world.saga("order", pivot="order"), log, locks, EventFactory("/saga", SimulatedClock()))
        assert runner.start("s1", REQUEST).outcome == "completed"


def test_recover_and_start_may_be_called_from_many_threads_at_once(log: FileLog) -> None:
    steps = (Step("order", lambda key, request: None, pivot=True),)
    runner = a_runner(Saga("test", steps), log)
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for n in range(20):
                runner.start(f"s{name}-{n}", REQUEST)
                runner.recover(threads=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert len(runner.stories) == 120


def test_a_log_that_can_not_be_written_leaves_the_saga_open_and_recover_takes_it_up(tmp_path: Path) -> None:
    class Full(FileLog):
        room = 3

        def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
            self.room -= 1
            if self.room < 0:
                raise LogError("the disk is full")
            return super().append(topic, *events)

    world = World()
    saga = world.saga("order", "payment", pivot="payment")
    log = Full(tmp_path / "log", durability="system")
    with pytest.raises(LogError, match="full"):
        a_runner(saga, log).start("s1", REQUEST)
    log.room = 99
    assert [story.outcome for story in a_runner(saga, log).recover()] == ["completed"]


def test_a_thousand_open_sagas_recover_within_ten_seconds(tmp_path: Path) -> None:
    """As a crash in the middle of all of them would leave them: the order is made, the payment is in doubt."""
    new_event = EventFactory("/saga", SimulatedClock())
    with FileLog(tmp_path / "log") as log:  # with its own durability: what is acknowledged is on the disk
        events = []
        for n in range(1000):
            said = {"saga_id": f"s{n}", "step": "order", "attempt": 1}
            started = {"saga_id": f"s{n}", "saga": "test", "request": {"order_id": str(n)}}
            events.append(new_event("saga.started", started))
            events += [new_event(f"step.{verb}", said) for verb in ("started", "done")]
            events.append(new_event("step.started", said | {"step": "payment"}))
        log.append(TOPIC, *events)
        done: list[str] = []
        steps = [Step(name, lambda key, request: done.append(key), print) for name in ("order", "payment", "inventory")]
        saga = Saga("test", (*steps, Step("delivery", lambda key, request: done.append(key), pivot=True)))
        began = time.monotonic()
        stories = a_runner(saga, log, SystemClock()).recover()
        took = time.monotonic() - began
    assert [story.outcome for story in stories] == ["completed"] * 1000
    assert len(done) == len(set(done)) == 3000
    assert took < 10, f"{took:.1f} s"


# --- any table, any failures ------------------------------------------------------------------------------------

ANY: list[How] = ["works", "fails before", "fails after", "refuses", "permanent", "dies before", "dies after"]
NAMES = ("a", "b", "c", "d", "e")


@st.composite
def schedules(draw: st.DrawFn) -> tuple[tuple[str, ...], str, World, dict[int, str], int]:
    names = NAMES[: draw(st.integers(1, 5))]
    plan = st.lists(st.sampled_from(ANY), max_size=5)
    keys = [(name, kind) for name in names for kind in ("step", "compensation")]
    plans = draw(st.dictionaries(st.sampled_from(keys), plan, max_size=5))
    deaths = draw(st.dictionaries(st.integers(1, 30), st.sampled_from(["before", "after"]), max_size=3))
    return names, draw(st.sampled_from(names)), World(plans), deaths, draw(st.integers(1, 3))


@settings(max_examples=400)
@given(schedules())
def test_whatever_fails_the_log_tells_one_story_and_nothing_is_half_done(
    schedule: tuple[tuple[str, ...], str, World, dict[int, str], int],
) -> None:
    names, pivot, world, deaths, attempts = schedule
    with tempfile.TemporaryDirectory() as folder, MortalLog(Path(folder) / "log", deaths) as log:
        saga = world.saga(*names, pivot=pivot, retry=Retry(attempts, 0.0))
        outcomes = list(lives(saga, log))
        note(f"ended {outcomes[-1]} after {len(outcomes)} endings")
        assert outcomes[-1] in ("completed", "compensated")
        assert world.done == (set(names) if outcomes[-1] == "completed" else set())
        assert all(len(keys) == 1 for keys in world.keys.values())
        check_the_log([record.event for record in log.read(TOPIC)], names, pivot, outcomes)


def lives(saga: Saga, log: MortalLog) -> Iterator[str]:
    """Run the saga, take it up after each death, and resume it when it is stuck; the endings that it had."""
    for _ in range(200):
        runner = a_runner(saga, log)  # a new one knows nothing but the log
        try:
            runner.recover(threads=1)
            story = runner.start("s1", REQUEST)
            while story.outcome == "stuck":
                yield "stuck"
                assert "resume the saga s1" in story.reason
                story = runner.resume("s1")
            assert story.outcome is not None
            yield story.outcome
            return
        except Died:
            continue
    raise AssertionError("it comes to no end")


def check_the_log(events: list[Event], names: tuple[str, ...], pivot: str, outcomes: list[str]) -> None:
    """By rules of its own, not by the fold that the runner uses."""
    types = [event.type for event in events]
    assert types[0] == "saga.started"
    assert types.count("saga.started") == 1
    assert types.count("saga.failed") == (outcomes[-1] == "compensated")
    assert types[-1] == f"saga.{outcomes[-1]}"
    for place, type in enumerate(types[:-1]):
        if type in ("saga.stuck", "saga.completed", "saga.compensated"):
            assert type == "saga.stuck"
            assert types[place + 1] == "saga.resumed"
    actions = [event.data.step for event in events if event.type == "step.started"]
    assert list(dict.fromkeys(actions)) == list(names[: len(set(actions))])
    back = types.index("saga.failed") if "saga.failed" in types else len(types)
    assert not [type for type in types[back:] if type.startswith("step.")]
    assert not [type for type in types[:back] if type.startswith("compensation.")]
    done = {event.data.step for event in events if event.type == "step.done"}
    undone = [event.data.step for event in events if event.type == "compensation.done"]
    assert len(undone) == len(set(undone))
    if outcomes[-1] == "completed":
        assert done == set(names)
    else:
        assert done <= set(undone)
        assert pivot not in done or set(names) == done
        begun = list(dict.fromkeys(e.data.step for e in events if e.type == "compensation.started"))
        assert begun == sorted(begun, reverse=True)  # the names are in the order of the table
