"""Found by every Python whose PYTHONPATH names this folder. A worker then has a million objects for its collector to look at.

HOARD=old: from its first line on, so that they are among what it put away before the load begins. HOARD=young: from right after
it had done that.
"""

import gc
import os
import sys

if "clipload.worker" in sys.orig_argv:
    _many = [[] for _ in range(1_000_000)] if os.environ["HOARD"] == "old" else []
    _disable = gc.disable

    def disable() -> None:
        _disable()
        _many.extend([] for _ in range(1_000_000 - len(_many)))

    gc.disable = disable
