"""A limit on what a broken input may cost."""

import resource
import time


class Bounded:
    """At most 10 s of the processor, and a process that grows by at most 600 MB."""

    def __enter__(self) -> None:
        self.start, self.peak = time.process_time(), _peak_bytes()

    def __exit__(self, *_: object) -> None:
        assert time.process_time() - self.start < 10
        assert _peak_bytes() - self.peak < 600e6


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
