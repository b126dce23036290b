"""Totals that are kept where the log is: when they look, and that nothing is left out."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.services.analytics import Analytics
from ecomlib.shop import TOPIC
from ecomlib.web import following


def test_what_comes_during_the_pause_is_folded_in_with_the_rest_and_nothing_new_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileLog(tmp_path, durability="system") as log:
        log.append(TOPIC, Event("order.created", {"order_id": 1}))
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            log.append(TOPIC, Event("order.created", {"order_id": 2}))

        monkeypatch.setattr(following, "time", SimpleNamespace(sleep=pause))
        analytics = Analytics()
        totals = following.Following(log, TOPIC, analytics, 0, deque())
        totals.catch_up(0.5)
        assert (analytics.totals()["orders"], pauses) == (2, [0.5])
        totals.catch_up(0.5)
        assert pauses == [0.5]
