"""The verb that stays: the webhook server, until somebody stops it."""

from __future__ import annotations

import argparse
import secrets
import tempfile
from contextlib import nullcontext
from ipaddress import ip_network
from pathlib import Path

from pydantic import SecretStr

from ecomlib.errors import BadInput, NotDrained, Refused
from ecomlib.settings import Settings
from ecomlib.shop import TOPIC, open_shop
from ecomlib.verbs.common import Result, say, table
from ecomlib.web.hosts import is_this_machine


def serve(options: argparse.Namespace, settings: Settings) -> Result:
    """Ctrl+C and SIGTERM end it: it takes no more requests, finishes what it took, and prints the totals."""
    from ecomlib.web.connections import make_room
    from ecomlib.web.server import Server, listen  # here, for the other verbs need no web framework
    from ecomlib.webhook import Rules

    signing = tuple(map(_plain, filter(None, (settings.webhook_secret, settings.webhook_old_secret))))
    token = _plain(settings.token) if settings.token else secrets.token_urlsafe(24) if signing else None
    try:
        rules = Rules(signing, token, rate=settings.rate, burst=settings.burst)
    except BadInput as error:
        names = "ECOMLIB_WEBHOOK_SECRET, ECOMLIB_WEBHOOK_OLD_SECRET or ECOMLIB_TOKEN"
        raise BadInput(f"{names} can't be used. {error}") from None
    make_room()
    if not signing and not is_this_machine(options.host):
        raise BadInput(
            f"Without a secret the server is for this machine only, so it can't listen on {options.host}. Set "
            "ECOMLIB_WEBHOOK_SECRET, or leave out --host."
        )
    _check_proxies(settings.trusted_proxies)
    with tempfile.TemporaryDirectory() if options.log is None else nullcontext(options.log) as folder:
        if Path(folder, TOPIC).exists():
            say("Reading what the log has: about half a minute for a million events.")
        listener = listen(options.host, options.port)
        shop = open_shop(folder, zone=settings.zone, durability=settings.durability)
        server = Server(shop, rules, host=options.host, listener=listener, proxies=settings.trusted_proxies)
        try:
            server.start()
            _greet(server.url, options, token, own_token=settings.token is None, signed=bool(signing))
            while not server.wait(1.0):
                pass
            raise Refused("The server ended by itself; what it said above tells why.")
        except KeyboardInterrupt:
            say("Stopping: what was taken is finished.")
        finally:
            try:
                server.stop()
            except NotDrained as error:
                left = str(error).removesuffix("They go on.")
                raise NotDrained(f"{left}They are taken up when a server starts on this log again.") from error
        totals = shop.totals()
    return Result({"url": server.url, **totals}, table(totals))


def _check_proxies(named: str) -> None:
    for name in filter(None, map(str.strip, named.split(","))):
        try:
            ip_network(name)
        except ValueError:
            if name != "*":
                raise BadInput(
                    f"ECOMLIB_TRUSTED_PROXIES is a list of addresses and networks, and {name!r:.60} is none of them."
                ) from None
            say("ECOMLIB_TRUSTED_PROXIES is '*': whoever can reach this port can claim to be anybody.")


def _greet(url: str, options: argparse.Namespace, token: str | None, *, own_token: bool, signed: bool) -> None:
    say(f"The live page is at {url}/{f'?token={token}' if token and own_token else ''}.")
    say(f"The webhook is at {url}/webhook/order, its documentation at {url}/docs. Ctrl+C stops the server.")
    if not signed:
        say(
            "No secret is set, so only this machine is served, and nobody has to sign. ECOMLIB_WEBHOOK_SECRET sets one."
        )
    if options.log is None:
        say("The events are in a temporary log, which goes when the server stops. --log DIR keeps them.")


def _plain(secret: SecretStr) -> str:
    return secret.get_secret_value()
