"""One operation of the system fails, in a process of its own; what the command makes of it."""

from __future__ import annotations

import builtins
import errno
import hashlib
import importlib
import io
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.command.cli import run_main
from utils.command.whole import claims

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EINTR, errno.EROFS)
SHORT = 0  # in place of an error: a write that takes half of what it is given, which is no fault
KINDS = ("write", "fsync", "rename", "mkdir", "create", "link")


@dataclass(frozen=True)
class Fault:
    """The n-th operation (from 1) of a kind fails with an error; n 0: none does."""

    kind: str = ""
    n: int = 0
    error: int = errno.ENOSPC


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status, what stderr says, how many operations it made.

    modules: what it has imported that this process had not.
    """

    status: int
    said: str
    counts: dict[str, int]
    modules: tuple[str, ...] = field(default=(), repr=False)

    @property
    def errors(self) -> list[str]:
        """Its lines of errors."""
        return [line for line in self.said.splitlines() if line.startswith("error: ")]


class _Counter:
    def __init__(self, fault: Fault, folder: Path) -> None:
        self.fault, self.folder = fault, str(folder)
        self.counts = dict.fromkeys(KINDS, 0)

    def at(self, kind: str, path: object = "") -> bool:
        """Count an operation; raises where it is to fail, True where it is to be cut short."""
        if path and not os.path.abspath(str(path)).startswith(self.folder):  # noqa: PTH100
            return False
        self.counts[kind] += 1
        if (kind, self.counts[kind]) != (self.fault.kind, self.fault.n):
            return False
        if self.fault.error == SHORT:
            return True
        raise OSError(self.fault.error, os.strerror(self.fault.error))


def _install(counter: _Counter) -> None:
    """Put the shim into this process, for good."""
    real_open, real_fsync = io.open, os.fsync

    class Raw(io.FileIO):
        def write(self, data: Any, /) -> int:
            view = memoryview(data).cast("B")
            if counter.at("write", self.name) and len(view) > 1:
                return super().write(view[: len(view) // 2])
            return super().write(view)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **more: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return real_open(file, mode, buffering, *args, **more)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
        binary: Any = kind(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, *args, **more)

    def fsync(handle: int) -> None:
        counter.at("fsync")
        real_fsync(handle)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename":
            counter.at("rename", args[1])
        elif event == "os.mkdir":
            counter.at("mkdir", args[0])
        elif event == "os.link":
            counter.at("link", args[1])
        elif event == "open" and isinstance(args[0], str) and args[2] & os.O_CREAT:
            counter.at("create", args[0])

    io.open = builtins.open = opened
    os.fsync = fsync
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined] # copies write as others do
    sys.addaudithook(hook)


def run(
    main: Callable[[list[str]], Any],
    argv: list[str],
    fault: Fault,
    folder: Path,
    meanwhile: Callable[[int], object] | None = None,
) -> Ended:
    """A command in a forked process, with the folder as its working directory.

    meanwhile: called with its number while it runs; it then leads a process group of its own.
    """
    read, write = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(write)
        if meanwhile is not None:
            with suppress(OSError):  # it has done so itself, or ended already
                os.setpgid(child, child)
            meanwhile(child)
        with os.fdopen(read, "rb") as pipe:
            text = pipe.read().decode("utf-8", "replace")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said, _, last = text.rpartition("COUNTS ")
        words = last.split()
        counts = [int(word) for word in words[: len(KINDS)]] or [0] * len(KINDS)
        new = tuple(words[len(KINDS) :])
        return Ended(status, said, dict(zip(KINDS, counts, strict=True)), new)
    status, known = 1, set(sys.modules)
    try:
        os.close(read)
        if meanwhile is not None:
            os.setpgid(0, 0)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(write, 2)
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # no file: nothing to be counted
        logging.root.handlers[:] = []
        counter = _Counter(fault, folder)
        _install(counter)
        status = _status(main, argv)
        for claim in list(claims._held.values()):  # as the end of a process of its own would
            claim.release()
        os.write(2, sys.stderr.getvalue().encode("utf-8", "replace"))
        modules = [name for name in sys.modules if name not in known]
        last = " ".join([*map(str, counter.counts.values()), *modules])
        with os.fdopen(2, "wb", closefd=False) as pipe:  # longer than a pipe holds at once
            pipe.write(f"COUNTS {last}".encode())
    finally:
        os._exit(status)


def imported(modules: Iterable[str]) -> None:
    """What commands import while they run, imported here: each later one is forked with it."""
    for name in modules:
        with suppress(Exception):  # a library's own try, which failed there too
            importlib.import_module(name)


def _status(main: Callable[[list[str]], Any], argv: list[str]) -> int:
    def unmasked(_: object) -> None:
        """Ctrl-C meets the command, and nothing of what surrounds it here."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        main(argv)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    try:
        run_main(unmasked)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        print(traceback.format_exc(), file=sys.stderr)
        return 1
    return 0


def state(folder: Path) -> dict[str, str]:
    """Every file below, hidden ones too, but no lock that a dead process left."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@dataclass
class Tally:
    """How many faults were put in, how many of them ended the command, what went wrong."""

    tried: int = 0
    stopped: int = 0
    failures: list[str] = field(default_factory=list)


def fresh(start: Path, folder: Path) -> Path:
    """The folder as the start is."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(start, folder))
