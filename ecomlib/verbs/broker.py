"""The verb that runs a RabbitMQ of our own, until somebody stops it."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

from ecomlib.broker import THREE_WAYS, PrivateNode, find_server, listens
from ecomlib.errors import BrokerError
from ecomlib.settings import Settings
from ecomlib.verbs.common import Result, say

DEFAULT_PORT = 5672


def broker(options: argparse.Namespace, settings: Settings) -> Result:
    """Ctrl+C and SIGTERM end it."""
    if find_server() is None:
        raise BrokerError(f"RabbitMQ is not installed here. {THREE_WAYS}")
    with tempfile.TemporaryDirectory() if options.data is None else nullcontext(options.data) as folder:
        node = PrivateNode(Path(folder), port=options.port or None)
        if listens(node.port):
            raise BrokerError(
                f"Something listens on port {node.port} already; if it is a RabbitMQ, `ecomlib doctor` says whether it "
                "lets you in. For one beside it: ecomlib broker --port 0."
            )
        say("Starting RabbitMQ: some seconds.")
        try:
            node.start()
            _greet(node, options, settings)
            while True:
                node.wait(3600)
        except KeyboardInterrupt:
            say("Stopping RabbitMQ.")
        finally:
            if options.data is None:
                node.kill()  # nothing to save
            else:
                node.stop()
    kept = f"What it holds is in {options.data}." if options.data else "What it held is gone."
    return Result({"url": node.url, "management_url": node.management_url}, kept)


def _greet(node: PrivateNode, options: argparse.Namespace, settings: Settings) -> None:
    say(f"RabbitMQ listens at {node.url}, for this machine only.")
    say(f"Its management page is at {node.management_url}, user guest, password guest.")
    if settings.broker_url != node.url:
        say(f"In each terminal that is to find it: export ECOMLIB_RABBITMQ_URL={node.url}")
    if options.data is None:
        say("Its messages are in a temporary folder, which goes when it stops. --data DIR keeps them.")
    say("Ctrl+C stops it.")
