#!/usr/bin/env python3
"""The older tool's launcher of pinned workers, by `clipload run --workers`: see docs/migrating.md."""

from __future__ import annotations

import sys
from pathlib import Path

from clipload.cli.predecessor.launcher import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent))
