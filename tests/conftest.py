"""Fixtures that every test file may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Folders to train and to measure in; as plugins, so that their assertions tell values.
pytest_plugins = ["tests.support.training_project", "tests.support.trained_project"]

# How long one example takes says something about the machine's load, nothing about the code.
settings.register_profile("darkslim", deadline=None)
settings.load_profile("darkslim")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and runs beside each other lose much to them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the repository; tests that need it skip without it."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("../shared is not there")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))
