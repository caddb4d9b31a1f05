#!/usr/bin/env python3
"""Batch size against throughput, from the launcher's logs folders.

scripts/draw_batches.py logs_batch_1 logs_batch_2 … [--out FILE.png]
"""

from __future__ import annotations

import sys

from clipload.cli.predecessor.sweep import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
