"""Found by every Python whose PYTHONPATH names this folder. A worker then leaves its rows behind, one file each.

The worker that is watched is the real one: `Outcomes.take` hands over each row once, and what it hands over is written down as
well, once a second, outside the hot path. So is what it imports after it has put its collector away, which is when it is ready.
"""

import gc
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

    class Late:
        """Finds no module, and tells of those that were looked for when the load might have begun."""

        @staticmethod
        def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def] # noqa: ARG004
            if not gc.isenabled():
                with (Path(os.environ["WITNESS"]) / f"{os.getpid()}.imports").open("a") as file:
                    file.write(f"{name}\n")

    sys.meta_path.insert(0, Late)  # type: ignore[arg-type]
    Outcomes.take = take  # type: ignore[method-assign]
