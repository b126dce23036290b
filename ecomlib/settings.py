"""What options leave out: read from `ECOMLIB_…` variables, or from a `.env` file in the current folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ecomlib.errors import BadInput
from ecomlib.ports import Durability


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ECOMLIB_", env_file=".env", extra="ignore", env_ignore_empty=True)

    log: Path | None = None  # the folder of the event log
    zone: str = "UTC"  # of the shop: its days and hours, and the times in files that name no zone
    seed: int = 0
    durability: Durability = "batch"
    webhook_secret: SecretStr | None = None  # signs what is sent to the webhook
    webhook_old_secret: SecretStr | None = None  # still taken while senders change to the new one
    token: SecretStr | None = None  # opens what is read from the server
    rate: float = Field(default=100.0, ge=0.001, allow_inf_nan=False)  # requests a second of one client
    burst: int = Field(default=200, ge=1)  # and how many at once
    trusted_proxies: str = ""  # addresses whose X-Forwarded-For is believed
    rabbitmq_url: SecretStr | None = None  # of any RabbitMQ
    rabbitmq_user: str = "guest"  # of the RabbitMQ on this machine; docker-compose.yaml reads the same variables
    rabbitmq_password: SecretStr = SecretStr("guest")
    smtp: str = ""  # host:port of the server that the emails go to; empty: nowhere

    @property
    def broker_url(self) -> str:
        """The URL that is set, as it is, else that of the RabbitMQ on this machine."""
        if self.rabbitmq_url is not None:
            return self.rabbitmq_url.get_secret_value()
        user, password = quote(self.rabbitmq_user, safe=""), quote(self.rabbitmq_password.get_secret_value(), safe="")
        return f"amqp://{user}:{password}@127.0.0.1:5672/"


def read_settings() -> Settings:
    """Raises `BadInput` with the variable that is wrong."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise BadInput("The file .env in the current folder is not text: write lines like ECOMLIB_SEED=7.") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = f"ECOMLIB_{'_'.join(map(str, first['loc'])).upper()}"
        raise BadInput(f"{name} is set to {first['input']!r:.40}, which can't be used: {first['msg']}.") from None
