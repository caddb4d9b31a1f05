"""Found by every Python whose PYTHONPATH names this folder. A worker then leaves its rows behind, one file each.

The worker that is watched is the real one: `Outcomes.take` hands over each row once, and what it hands over is written down as
well, once a second, outside the hot path.
"""

import os
import sys
from pathlib import Path

if "clipload.worker" in sys.orig_argv:
    from clipload.outcomes import Outcomes

    _rows = (Path(os.environ["WITNESS"]) / f"{os.getpid()}.rows").open("ab", buffering=0)
    _take = Outcomes.take

    def take(self, until_ns):  # type: ignore[no-untyped-def]
        taken = _take(self, until_ns)
        _rows.write(taken.tobytes())
        return taken

    Outcomes.take = take  # type: ignore[method-assign]
