"""What importing the library brings along, and what its names say of themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import eventy_sync

NOT_NEEDED = "click redis pydantic attrs fakeredis django flask prometheus_client"
if sys.version_info >= (3, 11):  # on 3.10 filelock brings it along
    NOT_NEEDED += " asyncio"
NAMES = [
    "AbstractFileEventQueue",
    "Backoff",
    "Claim",
    "ClaimLostError",
    "ClaimNotFoundError",
    "Codec",
    "CoordinationError",
    "CorruptRecordError",
    "DeadLetter",
    "EventExpiredError",
    "EventNotFoundError",
    "EventQueue",
    "EventResult",
    "EventyError",
    "FileEventQueue",
    "FileQueueManager",
    "GroupInUseError",
    "GroupInfo",
    "GroupNotFoundError",
    "InvalidArgumentError",
    "InvalidPayloadError",
    "JsonSerializer",
    "MessagePackSerializer",
    "NonceSubscriber",
    "NotFoundError",
    "Page",
    "PickleSerializer",
    "PydanticSerializer",
    "QueueClosedError",
    "QueueEvent",
    "QueueFormatError",
    "QueueIdentityError",
    "QueueManager",
    "RedisConfigurationError",
    "ResultNotFoundError",
    "Retention",
    "RetryEvent",
    "Serializer",
    "SkipEvent",
    "StorageError",
    "Subscriber",
    "Subscription",
    "SubscriptionNotFoundError",
    "WorkerMatchSubscriber",
    "__version__",
    "get_default_queue_manager",
]
LOOK = f"import sys, eventy_sync; print(*[name for name in '{NOT_NEEDED}'.split() if name in sys.modules])"


def test_importing_the_library_imports_no_extra() -> None:
    """No extra, no command line, no asyncio."""
    repository = Path(eventy_sync.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.split() == []


def test_every_public_name_has_a_docstring() -> None:
    """Classes, functions, and all public methods of the classes."""
    silent = []
    for name in eventy_sync.__all__:
        thing = getattr(eventy_sync, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        if not inspect.getdoc(thing) or (inspect.isclass(thing) and not thing.__dict__.get("__doc__")):
            silent.append(name)
        members = inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []
        silent += [f"{name}.{member}" for member, f in members if not member.startswith("_") and not inspect.getdoc(f)]
    assert silent == []


def test_the_public_names_are_these() -> None:
    """What `from eventy_sync import *` brings is this; a name that is taken away breaks somebody's program."""
    assert eventy_sync.__all__ == NAMES


def test_the_redis_queue_is_a_name_of_the_package() -> None:
    """Imported when it is first asked for; other names are not made up."""
    assert eventy_sync.RedisFileEventQueue.__doc__
    assert eventy_sync.RedisQueueManager.__doc__
    assert not hasattr(eventy_sync, "NoSuchQueue")


def test_without_redis_py_the_error_says_what_to_install() -> None:
    """And everything else works."""
    repository = Path(eventy_sync.__file__).parent.parent
    source = (
        "import sys; sys.modules['redis'] = None; import eventy_sync\n"
        "try:\n    eventy_sync.RedisFileEventQueue\nexcept ImportError as exc:\n    print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout == 'eventy_sync.redis needs redis-py: pip install "eventy-sync[redis]"\n'


def test_the_command_line_imports_redis_py_only_when_it_is_used() -> None:
    """A queue of files is looked at as fast as before, and without the extra."""
    repository = Path(eventy_sync.__file__).parent.parent
    source = "import sys, eventy_sync.cli; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout == "False\n"
