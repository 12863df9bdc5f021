"""``python -m eventy_sync`` is ``eventy-sync``."""

from eventy_sync.cli import main

main()
