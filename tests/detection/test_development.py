"""The development share: which images it takes, and that trainings never see them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny_data import make_set
from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file, load_list
from utils.detection.development import development_split, write_development
from utils.detection.options import Development


def paths(count: int, folder: str = "images") -> list[Path]:
    return [Path(folder, f"{number}.png") for number in range(count)]


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_every_image_is_on_one_side_and_no_side_is_empty(
    count: int, share: float, seed: int
) -> None:
    chosen, rest = development_split(paths(count), Development(share, seed))
    assert sorted(chosen + rest) == sorted(paths(count))
    assert len(chosen) == min(max(1, round(count * share)), count - 1)
    assert rest == [path for path in paths(count) if path not in chosen]  # in the list's order


def test_it_is_the_order_of_the_hashes_of_the_places() -> None:
    """Worked out again here, so that shares of earlier runs stay what they were."""
    order = sorted(range(9), key=lambda n: hashlib.sha256(b"%d:%d" % (7, n)).digest())
    chosen, _ = development_split(paths(9), Development(0.45, 7))
    assert chosen == [paths(9)[number] for number in order[:4]]


def test_it_depends_on_places_and_seed_alone() -> None:
    ours, _ = development_split(paths(40), Development(0.25, 3))
    theirs, _ = development_split(paths(40, "elsewhere"), Development(0.25, 3))
    assert [path.name for path in ours] == [path.name for path in theirs]
    other, _ = development_split(paths(40), Development(0.25, 4))
    assert set(other) != set(ours)  # negative control


def test_a_smaller_share_is_the_start_of_a_larger_one() -> None:
    small, _ = development_split(paths(40), Development(0.1, 1))
    large, rest = development_split(paths(40), Development(0.5, 1))
    assert (len(small), large[:4]) == (4, small)
    fewer, same_rest = development_split(paths(40), Development(0.5, 1, most=3))
    assert fewer == large[:3]
    assert same_rest == rest  # images over the limit are kept from the training all the same


def test_an_image_that_is_listed_twice_is_on_one_side_only() -> None:
    twice = [*paths(6), *paths(6)]
    assert development_split(twice, Development(0.5)) == development_split(
        paths(6), Development(0.5)
    )
    with pytest.raises(UserError, match="names a single image"):
        development_split([*paths(1), *paths(1)], Development(0.5))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_set(tmp_path, 8)
    (tmp_path / "my.names").write_text("a\nb\n")
    text = "classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n"
    (tmp_path / "my.data").write_text(text)
    return tmp_path / "my.data"


def test_it_is_written_as_a_data_set_like_any_other(data: Path, tmp_path: Path) -> None:
    where = Development(0.25, 2)
    spec = load_data_file(data)
    written = load_data_file(write_development(spec, tmp_path / "dev", where))
    lists = [[path for _, path in load_list(written.require(key))] for key in ("valid", "train")]
    entries = [path.absolute() for _, path in load_list(spec.require("train"))]
    assert tuple(lists) == development_split(entries, where)
    assert (written.nc, list(written.names)) == (2, ["a", "b"])


def test_what_is_written_stays(data: Path, tmp_path: Path) -> None:
    """A run that goes on has the images that it began with, whatever the list says by then."""
    spec = load_data_file(data)
    first = write_development(spec, tmp_path / "dev", Development(0.25, 2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "dev").iterdir()}
    (tmp_path / "list.txt").write_text("images/0.png\nimages/1.png\n")
    assert write_development(spec, tmp_path / "dev", Development(0.5, 9)) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "dev").iterdir()} == before
    again = write_development(spec, tmp_path / "new", Development(0.5, 9))
    assert (again.parent / "rest.txt").read_bytes() != before["rest.txt"]  # negative control


def test_a_data_set_without_a_training_list_has_no_share(data: Path, tmp_path: Path) -> None:
    data.write_text("classes=2\nvalid=list.txt\nnames=my.names\n")
    with pytest.raises(UserError, match="train"):
        write_development(load_data_file(data), tmp_path / "dev", Development())
    assert not (tmp_path / "dev").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"share": 0.0}, "--development: must lie between 0 and 1, got 0"),
        ({"share": 1.0}, "--development: must lie"),
        ({"share": float("nan")}, "--development: must lie"),
        ({"seed": -1}, "--seed: must not be negative"),
        ({"most": 0}, "--images"),
    ],
)
def test_values_out_of_range(values: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Development(**values)  # type: ignore[arg-type]
