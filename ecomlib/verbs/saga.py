"""The verb of the checkout: one more order as a saga, or the end of those that a crash left open."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ecomlib.checkout import Checkout
from ecomlib.errors import EcomlibError
from ecomlib.log import FileLog
from ecomlib.settings import Settings
from ecomlib.shop import open_checkout
from ecomlib.story import Story, Tried
from ecomlib.verbs.common import Result, log_folder


def saga(options: argparse.Namespace, settings: Settings) -> Result:
    """One more order, or the end of what a crash left open, or of what is stuck."""
    if options.recover or options.resume is not None:
        with FileLog(log_folder(options)) as log:
            log.topics()  # what is no log is refused, and not made into one
    with tempfile.TemporaryDirectory() as folder, _opened(options.log or Path(folder), settings) as checkout:
        if options.fail:
            checkout.faults.fail(options.fail)
        try:
            if options.recover:
                return _recovered(checkout, options.log)
            resumed = options.resume is not None
            story = checkout.runner.resume(options.resume) if resumed else _next_order(checkout)
        except KeyboardInterrupt:
            kept = f"What is open is ended by: ecomlib saga --recover --log {options.log}"
            raise EcomlibError(f"Stopped. {kept if options.log else 'Nothing was kept.'}") from None
        return Result(_told(checkout, story), "\n".join(_lines(checkout, story)), failed=story.outcome == "stuck")


def _opened(folder: Path, settings: Settings) -> Checkout:
    return open_checkout(folder, durability=settings.durability)


def _next_order(checkout: Checkout) -> Story:
    checkout.runner.catch_up()
    number = checkout.orders.next_number()
    while f"order-{number}" in checkout.runner.stories:  # as where the databases are gone, and the log is not
        number = checkout.orders.next_number()
    return checkout.buy(number, user_id=100, amount=100, quantity=2)


def _recovered(checkout: Checkout, folder: Path) -> Result:
    stories = checkout.recover()
    known = [story for story in checkout.runner.stories.values() if story.saga == checkout.saga.name]
    stuck = [story for story in known if story.outcome == "stuck"]
    running = [story.id for story in known if story.outcome is None]  # somebody else is at them, and not done yet
    problems = [] if running else checkout.problems()
    lines = [line for story in stories for line in _lines(checkout, story)] or ["No saga was open."]
    lines += [f"{story.id} is stuck. {story.reason}" for story in stuck if story not in stories]
    lines += [f"Resume it with: ecomlib saga --resume {story.id} --log {folder}" for story in stuck]
    lines += [f"{saga_id} is being run by somebody else." for saga_id in running] + problems
    data = {
        "recovered": len(stories),
        "sagas": [_told(checkout, story) for story in stories],
        "stuck": [story.id for story in stuck],
        "running": running,
        "problems": problems,
    }
    return Result(data, "\n".join(lines), failed=bool(stuck or problems))


def _told(checkout: Checkout, story: Story) -> dict[str, Any]:
    steps = [
        {"step": t.step, "kind": t.kind, "command": _command(checkout, t), "attempt": t.attempt, "outcome": t.verdict}
        | ({"error": t.error} if t.error else {})
        for t in story.tried
    ]
    return {
        "saga_id": story.id,
        "order_id": story.request.order_id,
        "outcome": story.outcome,
        "steps": steps,
        **({"reason": story.reason} if story.reason else {}),
    }


def _lines(checkout: Checkout, story: Story) -> list[str]:
    """What a person reads of a saga: its attempts in the order in which they happened, and how it ended."""
    marks = {"done": "✓", "in doubt": "?"}
    lines = [
        f"{'↶' if t.kind == 'compensation' else ' '} {marks.get(t.verdict, '✗')} {t.step:<10} {_command(checkout, t)}"
        f"{f': {t.error}' if t.error else ''}"
        for t in story.tried
    ]
    asked = story.request
    begun = f"Order {asked.order_id}: {asked.quantity} of {asked.item!r} for {asked.amount}, user {asked.user_id}"
    return [
        begun,
        *lines,
        f"The saga {story.id} is {story.outcome}.{f' {story.reason}' if story.outcome == 'stuck' else ''}",
    ]


def _command(checkout: Checkout, tried: Tried) -> str:
    step = next(step for step in checkout.saga.steps if step.name == tried.step)
    return str(getattr(step.action if tried.kind == "step" else step.compensation, "__name__", tried.kind))
