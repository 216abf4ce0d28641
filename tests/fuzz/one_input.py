"""One input: made, read, and judged by what came of it, in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.mutate import mutated
from utils.command.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 2 << 30
MOST_S = 20.0
OUT = "out"  # the one folder that a reader may write to
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Outcome:
    """`fault`: "" where the input was read or refused in one line, else what went wrong."""

    refused: bool = False
    fault: str = ""
    told: str = ""


def fresh(kind: str, folder: Path) -> Path:
    """A folder of right files; made once in `folder`, then copied."""
    seed, work = folder / f"seed-{kind}", folder / "in"
    if not seed.exists():
        seed.mkdir(parents=True)
        KINDS[kind].write(seed)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(seed, work)
    return work


def change(kind: str, number: int, seed: int, work: Path) -> str:
    """Change one file as (seed, kind, number) say; its name."""
    chance = random.Random(f"{seed} {kind} {number}")
    name = chance.choice(KINDS[kind].files)
    path = work / name
    path.write_bytes(mutated(path.read_bytes(), chance))
    return name


def judged(kind: Kind, work: Path) -> Outcome:
    """Read a folder, and say what came of it."""
    before = _state(work)
    _forget_peak()
    start_bytes, started = _bytes_of("VmRSS"), time.monotonic()
    outcome = _read(kind.read, work)
    seconds, grown = time.monotonic() - started, _bytes_of("VmHWM") - start_bytes
    if outcome.fault:
        return outcome
    if seconds > MOST_S:
        return Outcome(fault=f"took {seconds:.0f} s")
    size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    if grown > MOST_BYTES and size < 1 << 20:
        return Outcome(fault=f"took {grown >> 20} MiB")
    left = [path for path in work.rglob(".darkslim-*") if path.name != ".darkslim-lock.chain"]
    if left or _state(work) != before:
        return Outcome(fault="files that nobody named were changed or left")
    return outcome


def _read(read: Callable[[Path], object], work: Path) -> Outcome:
    try:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            read(work)
    except UserError as error:
        told = str(error)
        return Outcome(refused=True, told=told, fault="" if told.strip() else "says nothing")
    except (Exception, RecursionError, MemoryError) as error:
        return Outcome(fault=f"{type(error).__name__} {_place(error)}", told=str(error)[:500])
    return Outcome()


def _place(error: BaseException) -> str:
    """The last line of ours that the error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(ROOT)) and ".venv" not in f.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"


def _state(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for what may be written."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and OUT not in path.relative_to(folder).parts
        and not path.name.startswith(".darkslim-lock.")
    }  # fmt: skip


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _bytes_of(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return 0


def smallest(kind: str, work: Path, name: str, fault: str, most_s: float = 20.0) -> None:
    """Cut from the changed file, in place, what the same fault does not need."""
    path, end = work / name, time.monotonic() + most_s
    data = path.read_bytes()
    length = max(1, len(data) // 2)
    while length and time.monotonic() < end:
        place = 0
        while place < len(data) and time.monotonic() < end:
            path.write_bytes(data[:place] + data[place + length :])
            shutil.rmtree(work / OUT, ignore_errors=True)
            if judged(KINDS[kind], work).fault == fault:
                data = path.read_bytes()
            else:
                place += length
        length //= 2
    path.write_bytes(data)
