"""A process that counts a day's events in a shared store, and says after each one that it is in.

    counting.py STORE SEED

The events are those of a small day, each of them twice, in an order that the seed gives.
"""

from __future__ import annotations

import random
import sys
from datetime import datetime

from ecomlib import traffic
from ecomlib.clock import SimulatedClock
from ecomlib.events import Event
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.shop import Shop


def a_day() -> tuple[list[Event], dict[str, int | str]]:
    """Its events, and its totals."""
    orders = traffic.simulate(40, 3, datetime(2026, 1, 5), days=1)
    shop = Shop(clock=SimulatedClock(orders[0].created), seed=3)
    traffic.run(shop.orders, shop.clock, orders, settle=shop.run)
    return list(shop.bus.history), shop.totals()


if __name__ == "__main__":
    store, seed = sys.argv[1:]
    events = a_day()[0] * 2
    random.Random(seed).shuffle(events)
    with SharedAnalytics(store) as analytics:
        for event in events:
            analytics.apply(event)
            sys.stdout.write(".")
            sys.stdout.flush()
