"""Killed at any place where it writes, and killed again while it recovers: a checkout serves wholly or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

EVERY = 16  # a part of the places; `make crash` goes to all of them


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness makes its processes by fork: use Linux or macOS")
def test_wherever_a_checkout_is_killed_the_customer_is_served_or_refunded_and_never_in_between() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.crashing", "--every", str(EVERY)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    report = json.loads(run.stdout)
    assert report["broken"] == []
    assert run.returncode == 0, run.stderr
    assert all(places > 50 for places in report["places"].values()), report["places"]
    assert report["kills"] >= 150
    assert report["kills_of_recoveries"] >= 100
