"""Flags of train.py that weigh or divide: what is no such number is refused, in a file, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.command.errors import UserError
from utils.training.flags import make_parser, typed_flags


@pytest.mark.parametrize(
    ("flag", "value"),
    [("lr0", "nan"), ("lr0", "-1"), ("warmup-epochs", "inf"), ("weight-decay", "-1"),
     ("clip-norm", "nan"), ("box-gain", "nan"), ("distill-gain", "inf"), ("feature-gain", "nan"),
     ("temperature", "0")],
)  # fmt: skip
def test_what_is_no_rate_is_refused(flag: str, value: str, tmp_path: Path) -> None:
    hyp, sound = tmp_path / "hyp.yaml", tmp_path / "sound.yaml"
    hyp.write_text(f"{flag}: {'.' * (value in ('nan', 'inf'))}{value}\n")
    sound.write_text(f"{flag}: 0.5\n")
    start = ["--cfg", "a.cfg", "--data", "a.data"]
    for given in ([f"--{flag}={value}"], ["--hyp", str(hyp)]):
        with pytest.raises((UserError, SystemExit)):
            typed_flags(make_parser("", ("channels",)), [*start, *given])
    for given in ([f"--{flag}=0.5"], ["--hyp", str(sound)]):  # negative control
        typed_flags(make_parser("", ("channels",)), [*start, *given])
