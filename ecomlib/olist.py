"""Reads the Brazilian E-Commerce Public Dataset by Olist as it is published, and tells its orders as events.

The data set (https://www.kaggle.com/datasets/olistbr/brazilian-ecommerce, CC BY-NC-SA 4.0) is not part of
ecomlib. An order there is one row that was filled in as time went by; here each of the row's times becomes
the fact that it stands for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ecomlib.catalogue import MAX_AMOUNT, Money
from ecomlib.errors import BadEvent, BadInput
from ecomlib.events import Event
from ecomlib.importing import BAD_ROW, Findings, Imported, csv_rows
from ecomlib.zones import zone_named

ORDERS, PAYMENTS, ITEMS = (f"olist_{what}_dataset.csv" for what in ("orders", "order_payments", "order_items"))
FACTS = {  # in the order in which they should happen
    "order.created": "order_purchase_timestamp",
    "order.paid": "order_approved_at",
    "order.shipped": "order_delivered_carrier_date",
    "order.delivered": "order_delivered_customer_date",
}
COLUMNS = {
    ORDERS: ("order_id", "customer_id", "order_status", *FACTS.values()),
    PAYMENTS: ("order_id", "payment_value"),
    ITEMS: ("order_id",),
}

# What may be dirty, as it goes on after "12 of the".
BACKWARDS = "orders had times that ran backwards"
CANCELLED_YET = {
    "order.paid": "cancelled orders had been paid",
    "order.shipped": "cancelled orders had been shipped",
    "order.delivered": "cancelled orders had been delivered",
}
NO_DELIVERY_DATE = "orders with the status 'delivered' had no date of delivery"
NO_ITEMS = "orders had no items"
NO_PAYMENTS = "orders had no payments, so their amount became 0.00"
SEVERAL_PAYMENTS = "orders had several payments, which were added up"
UNKNOWN_ORDER = "orders that payments name had no row that could be read"
DUPLICATE = "order rows repeated the id of an earlier one and had to be left out"
BAD_TIME = "times could not be read, so that their facts had to be left out"

Row = dict[str, str]
_amount = TypeAdapter(Money).validate_python


def read_olist(folder: Path | str) -> Imported:
    """The events of every order in the folder, in order of time, and what was found dirty.

    Reads `olist_orders_dataset.csv`, `olist_order_payments_dataset.csv` and, where it is there,
    `olist_order_items_dataset.csv`, each gzipped (`.csv.gz`) or not. Their times are local to
    America/Sao_Paulo, and do not say so. An event's id comes from the order's id and the type: a second
    import makes the same events.

    Facts are told as they are found, so an order may be shipped before it was paid. `order.cancelled` has
    the last known time of its order, for the data set gives none. A row that can't be read is reported with
    its place, and costs no other row. Raises `BadInput` where a file is missing, breaks off or is something
    else altogether.
    """
    folder = Path(folder)
    findings = Findings()
    payments = _payments(folder, findings)
    stories: dict[str, list[Event]] = {}
    for place, row in _rows(folder, ORDERS, findings):
        order_id = row["order_id"]
        if order_id in stories:
            findings.add(DUPLICATE, f"{order_id} ({place})")
            continue
        try:
            stories[order_id] = _story(row, sum(payments.get(order_id, ()), Decimal("0.00")), place, findings)
        except BadEvent as error:
            findings.add(BAD_ROW, f"{place} ({str(error).rstrip('.')})")
            continue
        if order_id not in payments:
            findings.add(NO_PAYMENTS, order_id)
    if not stories and findings:
        raise BadInput(f"{folder}: not one order could be read. {' '.join(findings.sentences())}")
    if not stories:
        findings.remark(f"{ORDERS} holds no orders.")

    for order_id, parts in payments.items():
        if order_id not in stories:
            findings.add(UNKNOWN_ORDER, order_id)
        elif len(parts) > 1:
            findings.add(SEVERAL_PAYMENTS, order_id)
    if _find(folder, ITEMS) is None:
        findings.remark(f"{ITEMS} is not there, so the orders were not searched for missing items.")
    else:
        with_items = {row["order_id"] for _, row in _rows(folder, ITEMS, findings)}
        for order_id in stories:
            if order_id not in with_items:
                findings.add(NO_ITEMS, order_id)
    # Each story is in its proper order, and sorting keeps it where two times are the same.
    return Imported(sorted((e for story in stories.values() for e in story), key=lambda e: e.time), findings)


def _payments(folder: Path, findings: Findings) -> dict[str, list[Decimal]]:
    payments: dict[str, list[Decimal]] = {}
    for place, row in _rows(folder, PAYMENTS, findings):
        parts = payments.setdefault(row["order_id"], [])
        try:
            value = _amount(row["payment_value"])
            if sum(parts) + value > MAX_AMOUNT:
                raise ValueError(f"with it the order's amount is above {MAX_AMOUNT}")
            parts.append(value)
        except ValidationError as error:
            findings.add(BAD_ROW, f"{place} ({error.errors()[0]['msg'].removeprefix('Value error, ')})")
        except ValueError as error:
            findings.add(BAD_ROW, f"{place} ({error})")
    return {order_id: parts for order_id, parts in payments.items() if parts}


def _story(row: Row, amount: Decimal, place: str, findings: Findings) -> list[Event]:
    """One order's events. Raises `BadEvent` where there isn't even a beginning."""
    order_id = row["order_id"]
    times: dict[str, datetime] = {}
    for type, column in FACTS.items():
        if not row[column]:
            continue
        try:
            times[type] = _time(row[column])
        except (ValueError, OverflowError):
            findings.add(BAD_TIME, f"{place} ({column} is {row[column]!r:.40})")
    if "order.created" not in times:
        raise BadEvent("it does not say when the order was placed, like 2017-07-09 21:57:05")
    known = list(times.values())
    if known != sorted(known):
        findings.add(BACKWARDS, order_id)
    if row["order_status"] == "canceled":
        for type, what in CANCELLED_YET.items():
            if type in times:
                findings.add(what, order_id)
        times["order.cancelled"] = max(known)
    elif row["order_status"] == "delivered" and not row[FACTS["order.delivered"]]:
        findings.add(NO_DELIVERY_DATE, order_id)

    events = []
    for type, time in times.items():
        data = {"order_id": order_id}
        if type in ("order.created", "order.paid"):
            data |= {"amount": str(amount)} | ({"user_id": row["customer_id"]} if row["customer_id"] else {})
        story_id = f"{order_id}:order.created"
        events.append(Event(type, data, id=f"{order_id}:{type}", source="/olist", time=time, correlationid=story_id))
    return events


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if len(text) != len("2017-07-09 21:57:05") or time.tzinfo:
        raise ValueError(text)
    return time.replace(tzinfo=zone_named("America/Sao_Paulo")).astimezone(UTC)


def _rows(folder: Path, name: str, findings: Findings) -> Iterator[tuple[str, Row]]:
    path = _find(folder, name)
    if path is None:
        why = f"has no {name} or {name}.gz" if os.path.isdir(folder) else "is not a folder"
        raise BadInput(f"{folder} {why}. Name the folder into which you unpacked the Olist data set.")
    return csv_rows(path, COLUMNS[name], findings)


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if os.path.exists(path)), None)
