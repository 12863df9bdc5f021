"""What importing the library brings along, and what its names say of themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import eventy_sync

NOT_NEEDED = "click redis pydantic attrs fakeredis django flask"
if sys.version_info >= (3, 11):  # on 3.10 filelock brings it along
    NOT_NEEDED += " asyncio"
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


def test_all_is_sorted_and_complete() -> None:
    """What `from eventy_sync import *` brings is what is documented, in order."""
    assert sorted(eventy_sync.__all__) == eventy_sync.__all__
