"""The verb of the checkout: one more order as a saga, or the end of those that a crash left open."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ecomlib.checkout import ITEM, Checkout
from ecomlib.errors import EcomlibError
from ecomlib.log import FileLog
from ecomlib.settings import Settings
from ecomlib.shop import open_checkout
from ecomlib.story import Story, Tried
from ecomlib.verbs.common import Result, log_folder


def saga(options: argparse.Namespace, settings: Settings) -> Result:
    """One more order, or what a crash left."""
    if options.recover:
        with FileLog(log_folder(options)) as log:
            log.topics()  # what is no log is refused, and not made into one
    with tempfile.TemporaryDirectory() as folder, _opened(options.log or Path(folder), settings) as checkout:
        if options.fail:
            checkout.faults.fail(options.fail)
        try:
            if options.recover:
                return _recovered(checkout)
            number = checkout.orders.next_number()
            story = checkout.buy(number, user_id=100, amount=100, quantity=2)
        except KeyboardInterrupt:
            kept = f"End it with: ecomlib saga --recover --log {options.log}" if options.log else "Its log is gone too."
            raise EcomlibError(f"Stopped in the middle of a saga. {kept}") from None
        lines = [f"Order {number}: 2 {ITEM}s for 100.00", *_lines(checkout, story)]
        return Result(_told(checkout, story), "\n".join(lines), failed=story.outcome == "stuck")


def _opened(folder: Path, settings: Settings) -> Checkout:
    return open_checkout(folder, durability=settings.durability)


def _recovered(checkout: Checkout) -> Result:
    stories = checkout.recover()
    stuck = [s for s in checkout.runner.stories.values() if s.outcome == "stuck"]
    lines = [line for story in stories for line in (f"{story.id}:", *_lines(checkout, story))]
    lines += [f"{story.id} is stuck. {story.reason}" for story in stuck if story not in stories]
    data = {
        "recovered": len(stories),
        "sagas": [_told(checkout, story) for story in stories],
        "stuck": [story.id for story in stuck],
        "problems": checkout.problems(),
    }
    return Result(data, "\n".join(lines) or "No saga was open.", failed=bool(stuck or data["problems"]))


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
    return [*lines, f"The saga is {story.outcome}.{f' {story.reason}' if story.outcome == 'stuck' else ''}"]


def _command(checkout: Checkout, tried: Tried) -> str:
    step = next(step for step in checkout.saga.steps if step.name == tried.step)
    return str(getattr(step.action if tried.kind == "step" else step.compensation, "__name__", tried.kind))
