"""Folders of any shape: each file once, no loop, no pipe that waits for ever, not the results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import VoxelwayError
from pipeline.ingest.walk import Walk


def names(root: Path, *without: Path) -> list[str]:
    return sorted(Path(item.path).name for item in Walk(root, without).files())


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    return path


def test_links_within_the_tree_give_way_to_the_files(tmp_path: Path) -> None:
    target = touch(tmp_path / "tree" / "z" / "real")
    (tmp_path / "tree" / "a_link").symlink_to(target)
    (tmp_path / "tree" / "b_chain").symlink_to(tmp_path / "tree" / "a_link")
    (tmp_path / "tree" / "up").symlink_to(tmp_path)
    assert names(tmp_path / "tree") == ["real"]


def test_links_out_of_the_tree_are_followed_once(tmp_path: Path) -> None:
    target = touch(tmp_path / "store" / "real")
    touch(tmp_path / "other" / "x")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "b").symlink_to(target)
    (tree / "a").symlink_to(target)
    (tree / "c").symlink_to(tmp_path / "other")
    (tree / "d").symlink_to(tmp_path / "other" / "x")
    (tree / "gone").symlink_to(tmp_path / "nowhere")
    (tree / "itself").symlink_to(tree / "itself")
    found = list(Walk(tree).files())
    assert sorted(Path(item.path).name for item in found) == ["a", "gone", "itself", "x"]
    assert {Path(f.path).name for f in found if f.size < 0} == {"gone", "itself"}


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    os.link(touch(tmp_path / "a"), tmp_path / "b")
    assert names(tmp_path) == ["a"]


def test_pipes_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "link.dcm").symlink_to(tmp_path / "pipe.dcm")
    assert names(tmp_path) == ["a"]


def test_results_below_the_folder_are_not_read_by_any_way(tmp_path: Path) -> None:
    touch(tmp_path / "a")
    results = touch(tmp_path / "results" / "old.nii").parent
    (tmp_path / "way").symlink_to(results)
    assert names(tmp_path, results, tmp_path / "results-private") == ["a"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9 \n\xff")).write_text("x")
    assert len(names(tmp_path)) == 1


def test_empty_and_absent_folders(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with pytest.raises(VoxelwayError, match="E-DCM-FOLDER"):
        names(tmp_path)
    with pytest.raises(VoxelwayError, match="E-CONFIG-PATH"):
        Walk(tmp_path / "nowhere")
