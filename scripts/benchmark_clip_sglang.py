#!/usr/bin/env python3
"""The older tool's benchmark and validation, by `clipload run` and `clipload validate`: see docs/migrating.md."""

from __future__ import annotations

import sys

from clipload.cli.predecessor.benchmark import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
