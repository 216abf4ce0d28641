"""A second command, as far as it concerns the first: a process that has its outputs."""

from __future__ import annotations

import os

from utils.command.whole.claims import claimed


class Other:
    """Another process that is at work on some outputs until it is told to end."""

    def __init__(self, *outputs: str) -> None:
        ready, self._go = os.pipe(), os.pipe()
        self._child = os.fork()
        if not self._child:
            os.close(self._go[1])
            with claimed(*outputs):
                os.write(ready[1], b"1")
                os.read(self._go[0], 1)
            os._exit(0)
        os.read(ready[0], 1)

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._go[1], b"1")
        os.waitpid(self._child, 0)
