"""The laboratory: what lessons show and readers click. It needs the Jupyter packages; the rest of ecomlib does not."""

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
