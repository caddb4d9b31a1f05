#!/usr/bin/env python3
"""The older tool's local embedding, by `clipload embed`: see docs/migrating.md."""

from __future__ import annotations

import sys

from clipload.cli.predecessor.embedding import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
