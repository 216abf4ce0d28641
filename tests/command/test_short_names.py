"""Models in a table are named by what tells them apart."""

from __future__ import annotations

import pytest

from utils.command.short_names import run_name, short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/train/a/last.pt", "runs/train/b/last.pt"], ["a", "b"]),
        (
            ["runs/train/a/last.pt", "runs/train/b/last.pt", "runs/train/a/best.pt"],
            ["a/last", "b/last", "a/best"],
        ),
        (["x/slim.weights", "y/wide.weights"], ["slim", "wide"]),
        (["x/slim.weights", "y/slim.weights"], ["x/slim", "y/slim"]),
        (["1/x/slim.pt", "2/x/slim.pt"], ["1/x/slim", "2/x/slim"]),
        (["x/slim.pt", "x/slim.weights"], ["x/slim.pt", "x/slim.weights"]),
        (["last.pt"], ["last"]),
        (["/last.pt", "/best.pt"], ["last", "best"]),
        (["a.pt", "a.pt"], ["a", "a"]),
        ([], []),
    ],
)
def test_names(paths: list[str], names: list[str]) -> None:
    assert short_names(paths) == names


def test_one_model_is_named_by_its_run() -> None:
    assert run_name("runs/train/my-base/best.pt") == "my-base"
    assert run_name("weights/slim.weights") == "slim"
