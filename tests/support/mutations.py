"""Faults that the tests must find: each is put into a copy of the repository, one at a time.

    python -m tests.support.mutations             # all: the table, and exit code 1 if one is missed
    python -m tests.support.mutations anchors     # those whose name or file holds this word

A fault is one fragment of source replaced by another. The working tree is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from utils.command.table import table

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"  # reference data, which some tests read beside the repository
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "runs", "build")
PASSED, FAILED = 0, 1  # pytest's exit codes; any other says that nothing was tested


@dataclass(frozen=True)
class Fault:
    """`right`, which stands once in `file`, becomes `wrong`; then `tests` must fail."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "pruning threshold one position too high",
        "utils/pruning/plan.py",
        "math.floor(ratio * len(pool))",
        "math.ceil(ratio * len(pool))",
        ("tests/pruning/test_plan.py", "tests/pruning/test_slim_prune.py"),
    ),
    Fault(
        "channels that a layer without scores adds may go",
        "utils/pruning/candidates.py",
        "fixed[classes[summed[classes]]] = True",
        "pass",
        ("tests/pruning/test_plan.py",),
    ),
    Fault(
        "CIoU without alpha",
        "utils/detection/boxes.py",
        "return alpha * v",
        "return v",
        ("tests/detection/test_boxes.py",),
    ),
    Fault(
        "another epsilon: kernels are scaled, means are not",
        "utils/network/batch_norm/epsilon.py",
        'params["bn.running_mean"] * factor.to(variance.dtype)',
        'params["bn.running_mean"]',
        ("tests/network/test_bn_epsilon.py",),
    ),
    Fault(
        "every sweep has a knee",
        "utils/pruning/sweeps/curve.py",
        "best if height[best] >= _KNEE_LEAST_HEIGHT else None",
        "best",
        ("tests/pruning/test_sweep.py",),
    ),
    Fault(
        "runtimes agree on a box from IoU .5",
        "utils/runtimes/agreement.py",
        "_SAME_IOU = 0.97",
        "_SAME_IOU = 0.5",
        ("tests/runtimes/test_runtimes.py",),
    ),
    Fault(
        "label files take a picture for square",
        "utils/detection/outputs.py",
        "height, width = hw",
        "height = width = hw[1]",
        ("tests/detection/test_detect.py",),
    ),
    Fault(
        "a swish is guarded half as far below",
        "utils/translate/guard.py",
        "_DEVIATIONS = 12",
        "_DEVIATIONS = 6",
        ("tests/translate/test_blocks.py",),
    ),
    Fault(
        "a change in % of the new value",
        "utils/detection/figures.py",
        "(new - old) / old",
        "(new - old) / new",
        ("tests/detection/test_figures.py",),
    ),
    Fault(
        "gradients of held weights are not cleared",
        "utils/training/loop.py",
        "trainee.masks.quiet_gradients_()",
        "pass",
        ("tests/training/test_held_masks.py",),
    ),
    Fault(
        "a chain trains on what stopped early",
        "utils/chains/journal.py",
        'epoch >= args["epochs"] or stopped',
        'epoch >= args["epochs"]',
        ("tests/chains/test_journal.py",),
    ),
    Fault(
        "images seen: those of one process",
        "utils/training/loop.py",
        "len(batch.images) * run.ranks.world",
        "len(batch.images)",
        ("tests/training/test_ranks.py",),
    ),
    Fault(
        "an evaluation took as long as its first process",
        "utils/detection/evaluate.py",
        "max((part.seconds for part in parts), key=lambda spent: spent.forward)",
        "parts[0].seconds",
        ("tests/detection/test_evaluate.py",),
    ),
    Fault(
        "anchors are means of sizes",
        "utils/data/anchors.py",
        "np.median(members, axis=0)",
        "np.mean(members, axis=0)",
        ("tests/data/test_anchors.py",),
    ),
    Fault(
        "bilinear down to a third of the size",
        "utils/data/letterbox.py",
        "h > 2 * size[0] or w > 2 * size[1]",
        "h > 3 * size[0] or w > 3 * size[1]",
        ("tests/data/test_letterbox.py",),
    ),
    Fault(
        "tied groups in the order of a set",
        "utils/describe/layers.py",
        "sorted(groups, key=lambda group: group.layers)",
        "groups",
        ("tests/describe/test_cfginfo.py",),
    ),
)


def places(fault: Fault, root: Path = ROOT) -> int:
    """How often the fragment stands in its file; 0 for a file that is not there."""
    path = root / fault.file
    return path.read_text(encoding="utf-8").count(fault.right) if path.is_file() else 0


@contextmanager
def copied_repository() -> Iterator[Path]:
    """A copy of the sources as they are, in a temporary folder, with the reference data beside."""
    with tempfile.TemporaryDirectory(prefix="darkslim-faults-") as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        if SHARED.is_dir():
            (Path(folder) / "shared").symlink_to(SHARED.resolve())
        yield copy


def tests_fail(copy: Path, tests: Sequence[str]) -> bool:
    """Whether one of the test files fails in the copy.

    Raises RuntimeError when pytest could not run them: a fault that cannot even be imported, or a
    test file that is not there, proves nothing.
    """
    # Byte code is told stale by second and size, and a fault may change neither.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode not in (PASSED, FAILED):
        raise RuntimeError(f"{' '.join(tests)}: no verdict\n{done.stdout[-3000:]}{done.stderr}")
    return done.returncode == FAILED


def found(fault: Fault, copy: Path) -> bool:
    """Whether the tests see the fault. Raises ValueError when it has no place, or several."""
    if places(fault, copy) != 1:
        raise ValueError(f"{fault.file}: {fault.right!r} stands there {places(fault, copy)} times")
    path = copy / fault.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
    try:
        return tests_fail(copy, fault.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def verdicts(faults: Iterable[Fault] = FAULTS) -> tuple[bool, dict[str, bool]]:
    """Whether the tests of all faults pass as things are, and by name which faults they find."""
    chosen = tuple(faults)
    with copied_repository() as copy:
        sound = not tests_fail(copy, sorted({test for fault in chosen for test in fault.tests}))
        return sound, {fault.name: found(fault, copy) for fault in chosen}


def verdict_table(sound: bool, by_name: dict[str, bool]) -> str:
    """Fault | tests | found; the last row is the control."""
    tests = {fault.name: ", ".join(fault.tests) for fault in FAULTS}
    rows = [["fault", "tests", "found"]]
    rows += [[name, tests[name], "yes" if seen else "NO"] for name, seen in by_name.items()]
    return table([*rows, ["(none)", "all of these", "no" if sound else "YES"]])


def main(argv: Sequence[str]) -> int:
    """Print the table; 0 if all faults were found and nothing else."""
    wanted = [f for f in FAULTS if all(word in f"{f.name} {f.file}" for word in argv)]
    sound, by_name = verdicts(wanted)
    print(verdict_table(sound, by_name))
    return 0 if sound and by_name and all(by_name.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
