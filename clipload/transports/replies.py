"""What replies say: the code of one that did not look right at first sight, and an example of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from clipload.credentials import Credentials
from clipload.dialects import Dialect, ReplyError
from clipload.outcomes import NOT_JSON, OK, VECTORS
from clipload.transports import Sampled, unsampled


class Replies:
    """A Lane's judgement of its replies; `examples` maps a code to what the first such reply said, secrets masked."""

    headed = True  # a reply is handed on with HTTP's own head

    def __init__(self, dialect: Dialect, vectors: int) -> None:
        self.dialect, self.vectors = dialect, vectors
        self.looks_whole, self.tells_times, self.server_times = dialect.looks_whole, dialect.tells_times, dialect.server_times
        self.credentials = Credentials()
        self.compared: Container[int] = frozenset()  # bodies of which a reply may be sampled
        self.sampled: Sampled = unsampled
        self.examples: dict[int, str] = {}
        self.starved = 0  # connections that this host refused,
        self.lacking: Counter[int] = Counter()  # by errno

    def judge(self, status: int, body: bytes) -> int:
        """The code of a whole reply."""
        if status != 200:
            if status not in self.examples:
                self.note(status, self.dialect.error_message(status, body))
            return status
        try:
            found = len(self.dialect.decode(body))
        except ReplyError as error:
            code = NOT_JSON if error.kind == "not_json" else VECTORS
            self.note(code, str(error))
            return code
        if found == self.vectors:
            return OK
        self.note(VECTORS, f"{found} vectors came where {self.vectors} were asked for")
        return VECTORS

    def note(self, code: int, message: str) -> None:
        self.examples.setdefault(code, self.credentials.mask(message)[:300])

    def lack(self, error: OSError) -> None:
        """This host had no room for a connection."""
        self.starved += 1
        self.lacking[error.errno or 0] += 1
