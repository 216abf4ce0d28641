"""Print how many files and lines of Python each room has, and what a change adds to them.

    python .ci/rooms.py [REVISION]

The change is what stands here, committed or not, against REVISION. Left out, that is where this
branch left origin/main, or main in a clone without a remote; on that branch itself the last commit
if something is not committed yet, else the one before it. Without git there is no change to tell.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
MAINS = ("origin/main", "main")


def git(*words: str) -> str | None:
    """What git says, or None where it fails or is not installed."""
    # core.quotePath: names as they are.
    command = ["git", "-c", "core.quotePath=off", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def base_revision() -> tuple[str, str] | None:
    """The commit to compare with, and why it; None where there is none."""
    head = git("rev-parse", "HEAD")
    if head is None:
        return None
    for main in MAINS:
        parted = git("merge-base", "HEAD", main)
        if parted and parted != head:
            return parted.strip(), f"where this branch left {main}"
    if git("status", "--porcelain"):
        return head.strip(), "the last commit"
    before = git("rev-parse", "--verify", "--quiet", "HEAD^")
    return (before.strip(), "the commit before the last") if before else None


def room_of(path: PurePosixPath) -> str:
    """The folder that a file belongs to, subfolders included: `utils/cfg`, `tests`."""
    if len(path.parts) == 1:
        return "(commands)"
    inner = path.parts[0] == "utils" and len(path.parts) > 2
    return "/".join(path.parts[:2] if inner else path.parts[:1])


def python_files() -> list[PurePosixPath]:
    """All of the working tree that git does not ignore; without git, all outside hidden folders."""
    told = git("ls-files", "--cached", "--others", "--exclude-standard", "*.py")
    if told is not None:
        names = [PurePosixPath(line) for line in told.splitlines()]
        return [name for name in dict.fromkeys(names) if (ROOT / name).is_file()]
    found = (PurePosixPath(path.relative_to(ROOT).as_posix()) for path in ROOT.rglob("*.py"))
    return sorted(path for path in found if path.parts[0] == ".ci" or path.parts[0][0] != ".")


def lines_here() -> dict[PurePosixPath, int]:
    """The lines of each file."""
    return {path: (ROOT / path).read_bytes().count(b"\n") for path in python_files()}


def lines_at(revision: str) -> dict[PurePosixPath, int]:
    """The lines of each file at a commit."""
    # The empty tree: against it, everything has been added.
    empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    told = git("diff", "--numstat", "--no-renames", empty, revision, "--", "*.py")
    if told is None:
        sys.exit(f"{revision}: is no revision of this repository")
    rows = (line.split("\t") for line in told.splitlines())
    return {PurePosixPath(name): int(added) for added, _, name in rows if added != "-"}


def by_room(lines: dict[PurePosixPath, int]) -> tuple[Counter[str], Counter[str]]:
    """Files and lines of each room."""
    files: Counter[str] = Counter(room_of(path) for path in lines)
    sums: Counter[str] = Counter()
    for path, count in lines.items():
        sums[room_of(path)] += count
    return files, sums


def report(revision: str | None) -> str:
    """The table; `revision` to compare with, if one is wanted that is not `base_revision`."""
    base = (revision, "as asked") if revision else base_revision()
    before = lines_at(base[0]) if base else {}
    (files, lines), (old_files, old_lines) = by_room(lines_here()), by_room(before)

    def row(name: str, rooms: list[str]) -> str:
        count, old = (sum(c[room] for room in rooms) for c in (files, old_files))
        length, shorter = (sum(c[room] for room in rooms) for c in (lines, old_lines))
        text = f"{name:<22}{count:>6}{length:>8,}"
        if base and (count, length) != (old, shorter):
            text += f"{count - old:>+8}{length - shorter:>+8,}"
        return text

    rooms = sorted({*files, *old_files})
    utils = [room for room in rooms if room.startswith("utils")]
    tests = [room for room in rooms if room == "tests"]
    product = [room for room in rooms if room in {*utils, "(commands)", "data"}]
    table = [f"{'room':<22}{'files':>6}{'lines':>8}{'+files':>8}{'+lines':>8}"]
    table += [row(room, [room]) for room in rooms]
    table += [row("= utils", utils), row("= product", product), row("= tests", tests)]
    table.append(row("= all", rooms))
    if base:
        short = git("rev-parse", "--short", base[0]) or base[0]
        table.append(f"(against {short.strip()}, {base[1]})")
    return "\n".join(table)


if __name__ == "__main__":
    print(report(sys.argv[1] if sys.argv[1:] else None))
