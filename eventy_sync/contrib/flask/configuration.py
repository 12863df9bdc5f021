"""What the ``EVENTY_*`` keys of a Flask app's config say: a queue, or one error that names what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from eventy_sync.contrib.settings import Problem, QueueSettings, Wording, read_queue
from eventy_sync.errors import InvalidArgumentError

logger = logging.getLogger(__name__)

PREFIX = "EVENTY_"


class ConfigWording(Wording):
    """Keys with a prefix, beside the app's other ones."""

    example_root = '"/var/lib/shop/orders"'
    absolute_root = 'Begin it with a directory: os.path.join(app.instance_path, "orders").'

    def queue(self) -> str:
        return f"{PREFIX}*"

    def name(self, key: str) -> str:
        return f"{PREFIX}{key}"

    def key(self, key: str) -> str:
        return f"{PREFIX}{key}"

    def assignment(self, key: str, value: str) -> str:
        return f'app.config["{PREFIX}{key}"] = {value}'

    def unknown(self, key: object) -> str:
        return f"{PREFIX}{key!s:.100} is no setting of a queue."

    def missing(self, key: str) -> str:
        return f"{PREFIX}{key} is missing in the app's config."


def read_config(config: Mapping[str, Any]) -> QueueSettings:
    """Return the queue that an app's config describes.

    Raises:
        InvalidArgumentError: something is wrong; all of that is in the text.
    """
    entry = {key.removeprefix(PREFIX): value for key, value in config.items() if key.startswith(PREFIX)}
    problems: list[Problem] = []
    found = QueueSettings(*read_queue(entry, ConfigWording(), problems), problems)
    wrong = [str(each).strip() for each in problems if each.number.startswith("E")]
    if wrong:
        raise InvalidArgumentError("\n".join(wrong))
    for each in problems:
        logger.warning("%s", each)
    return found
