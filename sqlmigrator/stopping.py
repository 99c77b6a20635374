"""What every caller of the runner needs: a flag that stops a run, and an OnEvent that is deaf."""

from __future__ import annotations


def ignore(event: object) -> None:
    """The OnEvent of a caller that wants to know nothing."""


class Stop:
    """A request to stop, set by a signal handler and looked at wherever the run waits."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def request(self, signal_number: int) -> None:
        self.signal_number = signal_number

    @property
    def requested(self) -> bool:
        return self.signal_number is not None
