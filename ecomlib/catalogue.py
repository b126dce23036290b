"""What the data of each event type must say. A type outside the catalogue may carry any JSON object."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ecomlib.errors import BadEvent

MAX_DEPTH = 32  # levels of nesting: deeper is noise, and readers written in other languages stop there too
MAX_AMOUNT = Decimal("999999999.99")
AMOUNT = r"(0|[1-9][0-9]{0,8})\.[0-9]{2}"  # as events write it: a pattern
CENT = Decimal("0.01")


class Data(BaseModel):
    """An event's data: read-only all the way down. `data.amount` and `data["amount"]` are the same.

    Fields that a model does not name are carried along: an older reader loses nothing that a newer writer said.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="after")
    def _freeze(self) -> Self:
        extra = self.__pydantic_extra__
        if extra:
            extra.update({_text(key): _frozen(value, 1) for key, value in extra.items()})
        return self

    def __getitem__(self, name: str) -> Any:
        if name in type(self).model_fields:
            return getattr(self, name)
        return (self.model_extra or {})[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with amounts as strings ("50.00"); only the fields that were given."""
        return self.model_dump(mode="json", exclude_unset=True)


def _frozen(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"the data is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        inner = Data.model_construct()
        object.__setattr__(inner, "__pydantic_extra__", {_text(k): _frozen(v, depth + 1) for k, v in value.items()})
        object.__setattr__(inner, "__pydantic_fields_set__", set(value))
        return inner
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if isinstance(value, int) and value.bit_length() > 1024:
        raise ValueError("a whole number is beyond 1.8e308, where other readers of JSON stop")
    if isinstance(value, Decimal):
        return str(value)
    if value is None or isinstance(value, bool | int | float | Data):
        return value
    raise ValueError(f"{value!r:.40} is no JSON value: use text, numbers, true, false, null, lists and objects")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no key of a JSON object: keys are text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value!r:.40} holds half a character (a lone surrogate)") from None
    return value


_written = re.compile(AMOUNT, re.ASCII).fullmatch


def _money(value: Any) -> Decimal:
    if type(value) is str and _written(value):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{value!r:.40} is no amount: write it like 50 or '49.90'")
    try:
        amount = Decimal(str(value).strip())
        cents = amount.quantize(CENT)
    except InvalidOperation:
        raise ValueError(f"{value!r:.40} is no amount: write it like 50 or '49.90'") from None
    if amount.is_nan():
        raise ValueError(f"{value!r:.40} is no amount: write it like 50 or '49.90'")
    if cents > MAX_AMOUNT:
        raise ValueError(f"the amount {value!r:.40} is not below a thousand million")
    if cents != amount:
        raise ValueError(f"the amount {value!r:.40} has more than two decimal places")
    if cents < 0:
        raise ValueError(f"the amount {value!r:.40} is negative")
    return abs(cents)  # no -0.00


def _id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > 100:
        raise ValueError(f"{value!r:.40} is no id: it is text of 1 to 100 characters, or a whole number")
    return _text(value)


Money = Annotated[Decimal, BeforeValidator(_money)]
UnsaidMoney = Annotated[Decimal | None, BeforeValidator(_money)]  # the field may be left out, but not be null
Id = Annotated[str, BeforeValidator(_id)]


class UserRegistered(Data):
    user_id: Id
    username: str | None = None


class UserDeleted(Data):
    user_id: Id
    reason: str | None = None


class OrderEvent(Data):
    order_id: Id


class OrderCreated(OrderEvent):
    amount: UnsaidMoney = None  # the outside world reports orders of which it does not say everything
    user_id: Id | None = None


class OrderUpdated(OrderEvent):
    amount: Money


class OrderPaidV1(OrderEvent):
    """Version 1 said only which order. Who needs the amount must remember what `order.created` said."""

    amount: UnsaidMoney = None
    user_id: Id | None = None


class OrderPaid(OrderEvent):
    amount: Money
    user_id: Id | None = None


class OrderCancelled(OrderEvent):
    reason: str | None = None


class PaymentEvent(OrderEvent):
    amount: Money
    user_id: Id | None = None


class InventoryEvent(OrderEvent):
    item: str | None = None
    quantity: int


class RefusedEvent(OrderEvent):
    reason: str


class Purchase(OrderEvent):
    """What a checkout is about: who buys how much of what."""

    user_id: Id
    amount: Money
    item: str
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class NotificationSent(Data):
    channel: str
    recipient: Id
    message_id: str
    order_id: Id | None = None


class NotificationFailed(Data):
    channel: str
    error: str
    recipient: Id | None = None
    order_id: Id | None = None


class SagaEvent(Data):
    saga_id: Id
    order_id: Id | None = None
    step: str | None = None
    reason: str | None = None


class SagaStarted(SagaEvent):
    saga: str  # the name of its table of steps
    request: Data  # what it was asked to do


class StepEvent(SagaEvent):
    """One attempt of a step's action, or of its compensation."""

    step: str
    attempt: int


# The models of each type, oldest version first: an event's `dataversion` counts from 1.
CATALOGUE: dict[str, tuple[type[Data], ...]] = {
    "user.registered": (UserRegistered,),
    "user.deleted": (UserDeleted,),
    "order.created": (OrderCreated,),
    "order.updated": (OrderUpdated,),
    "order.paid": (OrderPaidV1, OrderPaid),
    "order.shipped": (OrderEvent,),
    "order.delivered": (OrderEvent,),
    "order.cancelled": (OrderCancelled,),
    **{f"payment.{done}": (PaymentEvent,) for done in ("requested", "reserved", "cancelled")},
    **{f"inventory.{done}": (InventoryEvent,) for done in ("deducted", "restored")},
    **{f"delivery.{done}": (OrderEvent,) for done in ("requested", "cancelled")},
    "notification.sent": (NotificationSent,),
    "notification.failed": (NotificationFailed,),
    **{f"{service}.refused": (RefusedEvent,) for service in ("payment", "inventory", "delivery")},
    "saga.started": (SagaStarted,),
    **{f"saga.{done}": (SagaEvent,) for done in ("failed", "completed", "compensated", "stuck", "resumed")},
    **{f"{part}.{done}": (StepEvent,) for part in ("step", "compensation") for done in ("started", "done", "failed")},
}


D = TypeVar("D", bound=Data)


def newest_version(type: str) -> int:
    return len(CATALOGUE.get(type, (Data,)))


def read_data(type: str, version: int, values: Any) -> Data:
    """Check `values` by the model of that version; a version newer than any known is read as the newest known.

    Raises `BadEvent` with a sentence that names each field that is wrong.
    """
    models = CATALOGUE.get(type, (Data,))
    if isinstance(values, Data):
        values = {name: values[name] for name in (*values.model_fields_set, *(values.model_extra or {}))}
    if not isinstance(values, dict):
        raise BadEvent(f"{type}: its data must be a JSON object (a dict), not {values!r:.40}.", field="data")
    return read_model(models[min(version, len(models)) - 1], type, values)


def read_model(model: type[D], what: str, values: dict[str, Any]) -> D:
    """Raises `BadEvent` with a sentence that names `what`, and each field that is wrong."""
    try:
        return cast("D", model.__pydantic_validator__.validate_python(values))  # as `model_validate`, but at once
    except ValidationError as error:
        wrong = [_reason(e) for e in error.errors()]
        raise BadEvent(f"{what}: {'; '.join(_sentence(*each) for each in wrong)}.", fields=wrong) from None


def _reason(error: Any) -> tuple[str, str]:
    """The field, with dots on the way down to it, and what is wrong with it."""
    missing = error["type"] == "missing"
    said = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
    reason = "is missing" if missing else said
    return ".".join(str(part) for part in error["loc"]), reason


def _sentence(field: str, reason: str) -> str:
    return f"{field} {reason}" if reason == "is missing" else f"{field}: {reason}" if field else reason
