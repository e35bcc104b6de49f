"""What one request to a model server may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chalknet.errors import ConfigError
from chalknet.serving.server.guard import Limits

MIB = 2**20


@dataclass(frozen=True)
class ServeLimits:
    """What one request may cost, and how many wait.

    Attributes:
        max_body: size of a body in MiB: images and CSV tables.
        max_json: size of a JSON body in MiB. Its values take up to 20 times as much memory as their text.
        max_rows: rows of a table, or images, in a request.
        max_pixels: pixels of an image.
        max_seconds: time from the whole request to its answer.
        max_waiting: requests that wait for a prediction; more are answered with 503.
        max_connections: connections at a time.
        stop_seconds: time that requests have to finish after the server was told to stop.
    """

    max_body: float = 32
    max_json: float = 8
    max_rows: int = 10_000
    max_pixels: int = 2**25
    max_seconds: float = 30
    max_waiting: int = 1_024
    max_connections: int = 512
    stop_seconds: float = 10

    def __post_init__(self) -> None:
        """Check that all limits are positive."""
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0:
                raise ConfigError(f"{item.name} must be a number > 0, got {value}.")

    @property
    def of_requests(self) -> Limits:
        """The limits that do not depend on models."""
        return Limits(
            body_bytes=int(self.max_body * MIB),
            connections=self.max_connections,
            stop_seconds=self.stop_seconds,
            too_large=(
                f"the body is larger than {self.max_body:g} MiB (JSON: {min(self.max_json, self.max_body):g} MiB). "
                "Send fewer rows or images at a time, or start the server with a larger max_body (--max-body)."
            ),
        )
