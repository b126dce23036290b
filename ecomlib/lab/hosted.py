"""The shop's webhook server for a desk: real, on a free port, over a log that outlives it."""

from __future__ import annotations

import threading
import weakref

from ecomlib.clock import SimulatedClock
from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.lab.scratch import scratch
from ecomlib.log import FileLog
from ecomlib.services.senders import RecordingSender
from ecomlib.shop import TOPIC, open_shop
from ecomlib.web.server import Server
from ecomlib.webhook import Rules

SECRET = "the-teaching-secret"  # everybody may know it: the lesson shows it
TOKEN = "the-teaching-token"
ROOM = 2  # events that each queue holds while the services stand still


class HostedShop:
    """It runs when it is made, until `close`; the log is in a temporary folder that goes away with it.

    What customers got is out of the shop's hands, so `mailbox` outlives the server too.
    """

    def __init__(self) -> None:
        self.folder, self.clock, self.mailbox = scratch(self), SimulatedClock(), RecordingSender()
        self.running = self.stalled = False
        self.start()

    def start(self) -> None:
        """A new server over the same log, on another port. It first delivers what the one before could not."""
        if self.running:
            raise Refused("The server runs already.")
        shop = open_shop(self.folder, clock=self.clock, seed=0, sender=self.mailbox, durability="system")
        self.server = Server(shop, Rules((SECRET,), TOKEN)).start()
        self.running, self._limit = True, shop.bus.limit
        # Whoever drops this may be in any thread, also in one that the server would wait for.
        self._dropped = weakref.finalize(self, _stop_in_the_background, self.server)
        self._dropped.atexit = False  # its threads end with the process
        self.settle()

    def stop(self) -> None:
        """Returns when what was taken has ended, and the port is free."""
        self.needed()
        self.go_on()
        self.running = False
        self._dropped.detach()
        self.server.stop()

    def needed(self) -> None:
        if not self.running:
            raise Refused("The server is stopped: click Start first.")

    def settle(self) -> None:
        """Returns when every delivery has ended, unless the services stand still."""
        if self.running and not self.stalled:
            self.server.shop.run()

    def stall(self) -> None:
        """The services stand still: what is taken waits in queues, until one is full."""
        self.needed()
        self.server.shop.bus.stop()
        self.server.shop.bus.limit, self.stalled = ROOM, True

    def go_on(self) -> None:
        """Returns when what waited is delivered. Nothing to do where no service stands still."""
        if self.stalled:
            self.server.shop.bus.limit, self.stalled = self._limit, False
            self.settle()  # in this thread, so that emails and SMS go out in the same order at every run
            self.server.shop.bus.start()

    def events(self) -> list[Event]:
        """What the log says, also while the server is stopped."""
        with FileLog(self.folder) as log:
            return [record.event for record in log.read(TOPIC)]

    def close(self) -> None:
        if self.running:
            self.stop()


def _stop_in_the_background(server: Server) -> None:
    threading.Thread(target=server.stop, name="stops a server that nobody has any more", daemon=True).start()
