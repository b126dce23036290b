"""Kill workers, and then the broker, in the middle of a day, and look at what is lost and what is done twice.

    python -m tests.support.chaos                # 5,000 orders and ten broken brokers: minutes
    python -m tests.support.chaos --seed 4       # other moments

A line for each round says what happened. The last line is a JSON object with all of it; where something was lost or
counted wrongly a sentence says what, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecomlib.broker import PrivateNode
from ecomlib.errors import BrokerError
from ecomlib.services.notifications import PATIENT
from ecomlib.topology import Topology, pauses
from tests.support.broker import settle
from tests.support.rabbit_day import LIMIT, QUEUES, Day, Expected, in_memory
from tests.support.webhook import wait_until

BOUNCES = frozenset({"501", *map(str, range(100, 601, 25))})  # who can't be told is a fact too, and counts once


@dataclass
class Round:
    """What was done, what was seen, and, in sentences, what must not be."""

    name: str
    done: dict[str, int | float | bool]
    seen: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def check(self, so: bool, otherwise: str) -> None:
        if not so:
            self.broken.append(otherwise)

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in {**self.done, **self.seen}.items())
        return f"{self.name}: {figures}. {' '.join(self.broken) or 'All is well.'}"


def workers_killed(
    folder: Path,
    node: PrivateNode,
    *,
    orders: int,
    kills: int,
    each: int = 2,
    pause: tuple[float, float] = (0.1, 0.5),
    seed: int = 0,
) -> Round:
    """Kill a worker, any of them, and start the next one at once, `kills` times and before all is served."""
    dice, expected = random.Random(seed), in_memory(orders, seed, BOUNCES)
    killed = {"email": 0, "analytics": 0}
    with Day(folder, node.url, BOUNCES) as day:
        day.staff(each)
        producer = day.produce(orders, seed)
        for number in range(kills):
            due = int(expected.totals["events"]) * number // (kills + 1)  # so they are spread over the whole day
            wait_until(lambda due=due: int(day.totals()["events"]) > due, 300)  # type: ignore[misc]
            time.sleep(dice.uniform(*pause))
            name = dice.choice(sorted(day.workers))
            day.replace(name)
            killed[name.split()[0]] += 1
        done = Round("workers killed", {"orders": orders, **{f"kills of {name}": n for name, n in killed.items()}})
        # An email that was taken by the mail server, and not yet written down, goes out again: one a worker at most.
        _look(done, day, expected, producer.result(120), copies=killed["email"])
    return done


def broker_killed(
    folder: Path,
    node: PrivateNode,
    *,
    orders: int,
    each: int = 2,
    pause: tuple[float, float] = (0.5, 3.0),
    seed: int = 0,
) -> Round:
    """Kill the broker while a producer publishes and the workers serve, and start it again after a pause."""
    dice, expected = random.Random(seed), in_memory(orders, seed, BOUNCES)
    delays = {Topology().delay(pause) for pause in pauses(PATIENT)}
    with Day(folder, node.url, BOUNCES) as day:
        day.staff(each)
        settle(node, *QUEUES, Topology().dead, *delays)
        producer = day.produce(orders, seed)
        share = dice.uniform(0.0, 0.06)  # early, for a producer is quick
        wait_until(lambda: int(day.totals()["events"]) > int(expected.totals["events"]) * share, 120)
        publishing = producer.runs
        counted = int(day.totals()["events"])
        node.kill()
        away = dice.uniform(*pause)
        time.sleep(away)
        node.start()
        back = time.monotonic()
        done = Round(
            "broker killed",
            {"orders": orders, "at event": counted, "publishing": publishing, "away s": round(away, 1)},
        )
        sent = producer.result(120)
        _look(done, day, expected, sent, copies=each)  # one in hand for each email worker, at most
        done.seen["s until served"] = round(time.monotonic() - back, 1)
    return done


def _look(done: Round, day: Day, expected: Expected, sent: dict[str, Any], *, copies: int) -> None:
    try:
        day.served(expected, LIMIT + len(expected.messages) / 20)
        totals = day.close()
        while day.left():  # what was given back are copies, and their readers know them
            day.staff(1)
            day.served(expected)
            totals |= day.close()
    except AssertionError as error:
        done.broken.append(f"A worker or its work got lost: {error}.")
        return
    mails = day.mailbox.mails
    handled = [a for worker in day.ended for a in worker.attempts if a["outcome"] == "handled"]
    counted = [a["event"] for a in handled if a["service"] == "analytics"]
    done.seen |= {
        "events": day.totals()["events"],
        "mails": len(mails),
        "mails twice": day.mailbox.copies,
        "events counted again": len(counted) - len(set(counted)),
        "failed": day.totals()["failed"],
    }
    done.check(sent["confirmed"] == sent["events"], f"Of {sent['events']} events {sent['confirmed']} were confirmed.")
    done.check(sent["unrouted"] == 0, f"{sent['unrouted']} events found no queue.")
    done.check(day.totals() == expected.totals, f"The totals are {day.totals()}, and not {expected.totals}.")
    done.check(mails.keys() >= expected.messages, f"{len(expected.messages - mails.keys())} mails never came.")
    done.check(mails.keys() <= expected.messages, f"{len(mails.keys() - expected.messages)} mails came for nothing.")
    done.check(day.mailbox.copies <= copies, f"{day.mailbox.copies} mails came again, where {copies} may.")
    done.check(all(t == expected.totals for n, t in totals.items() if "analytics" in n), "A worker says other totals.")


def main(arguments: list[str] | None = None) -> int:
    top = argparse.ArgumentParser("chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    top.add_argument("--orders", type=int, default=5_000, help="while workers are killed (default: %(default)s)")
    top.add_argument("--kills", type=int, default=100, help="of workers (default: %(default)s)")
    top.add_argument("--rounds", type=int, default=10, help="in each of which the broker is killed (default: 10)")
    top.add_argument("--seed", type=int, default=0)
    options = top.parse_args(arguments)
    rounds: list[Round] = []
    try:
        with tempfile.TemporaryDirectory() as there, PrivateNode(Path(there) / "node", management=False) as node:
            while len(rounds) <= options.rounds and not any(one.broken for one in rounds):
                folder, seed = Path(there) / f"day {len(rounds)}", options.seed + len(rounds)
                if rounds:
                    one = broker_killed(folder, node, orders=options.orders // 16, seed=seed)
                else:
                    one = workers_killed(folder, node, orders=options.orders, kills=options.kills, seed=seed)
                sys.stderr.write(f"{one}\n")
                rounds.append(one)
    except (BrokerError, AssertionError) as error:
        sys.stderr.write(f"It could not go on: {error}\n")
        return 1
    broken = [sentence for one in rounds for sentence in one.broken]
    sys.stdout.write(f"{json.dumps({'rounds': [vars(one) for one in rounds], 'broken': broken})}\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
