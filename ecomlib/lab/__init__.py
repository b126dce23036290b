"""The laboratory: what lessons show and readers click. It needs the Jupyter packages; the rest of ecomlib does not.

A name is imported when it is first asked for: who opens a panel does not wait for a web server and RabbitMQ's client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecomlib.lab import charts
    from ecomlib.lab.checks import check, hint, solution
    from ecomlib.lab.desk import Desk
    from ecomlib.lab.group_desk import GroupDesk
    from ecomlib.lab.history import History
    from ecomlib.lab.lanes import Lanes
    from ecomlib.lab.lesson_broker import LessonBroker, open_broker
    from ecomlib.lab.panel import Panel, presenter
    from ecomlib.lab.rabbit_desk import RabbitDesk
    from ecomlib.lab.rabbit_panel import RabbitPanel
    from ecomlib.lab.saga_desk import SagaDesk
    from ecomlib.lab.saga_panel import SagaPanel
    from ecomlib.lab.source import show_code
    from ecomlib.lab.time_machine import TimeMachine
    from ecomlib.lab.webhook_desk import WebhookDesk
    from ecomlib.lab.webhook_panel import WebhookPanel

_PLACES = {
    "charts": "charts",
    "check": "checks",
    "hint": "checks",
    "solution": "checks",
    "Desk": "desk",
    "GroupDesk": "group_desk",
    "History": "history",
    "Lanes": "lanes",
    "LessonBroker": "lesson_broker",
    "open_broker": "lesson_broker",
    "Panel": "panel",
    "presenter": "panel",
    "RabbitDesk": "rabbit_desk",
    "RabbitPanel": "rabbit_panel",
    "SagaDesk": "saga_desk",
    "SagaPanel": "saga_panel",
    "show_code": "source",
    "TimeMachine": "time_machine",
    "WebhookDesk": "webhook_desk",
    "WebhookPanel": "webhook_panel",
}

__all__ = [
    "Desk",
    "GroupDesk",
    "History",
    "Lanes",
    "LessonBroker",
    "Panel",
    "RabbitDesk",
    "RabbitPanel",
    "SagaDesk",
    "SagaPanel",
    "TimeMachine",
    "WebhookDesk",
    "WebhookPanel",
    "charts",
    "check",
    "hint",
    "open_broker",
    "presenter",
    "show_code",
    "solution",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_PLACES[name]}")
    globals()[name] = found = module if name == _PLACES[name] else getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
