"""The command line ``eventy-sync``: one module for what belongs together, one function a command."""

from eventy_sync.cli.app import main

__all__ = ["main"]
