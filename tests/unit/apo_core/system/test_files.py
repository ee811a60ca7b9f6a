import hashlib

import pytest

from apo_core.errors import DiskFull
from apo_core.system.files import (
    read_json,
    remove,
    replacing,
    require_space,
    sha256_of,
    write_json,
    write_text,
)


def tree(directory):
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def test_a_file_takes_its_place_when_the_block_ends(tmp_path):
    target = tmp_path / "made" / "on the way" / "file"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent  # a rename is atomic within one file system only
    assert tree(tmp_path) == {"made/on the way/file": "new"}


def test_a_file_replaces_an_older_one(tmp_path):
    (tmp_path / "file").write_text("old")
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert tree(tmp_path) == {"file": "new"}


def test_a_directory_replaces_an_older_one_with_all_in_it(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    with replacing(tmp_path / "model") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "new").write_text("new")
        assert (tmp_path / "model" / "old").exists()
    assert tree(tmp_path) == {"model/deep/new": "new"}


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_temporary(tmp_path, interruption):
    (tmp_path / "file").write_text("old")
    with pytest.raises(interruption), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise interruption
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert tree(tmp_path) == {"file": "old"}


def test_an_error_leaves_the_old_directory_and_no_temporary(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
    assert tree(tmp_path) == {"model/weights": "old"}


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_run_left_is_removed(tmp_path, kind):
    with replacing(tmp_path / "target") as temporary:
        temporary.write_text("")
    # A kill leaves the temporary as it is.
    if kind == "file":
        temporary.write_text("half")
    else:
        temporary.mkdir()
        (temporary / "half").write_text("half")
    with replacing(tmp_path / "target") as again:
        assert not again.exists()
        again.write_text("new")
    assert tree(tmp_path) == {"target": "new"}


def test_a_block_that_makes_nothing_leaves_the_old_directory(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "model"):
        pass
    assert tree(tmp_path) == {"model/weights": "old"}


def test_a_kill_between_the_two_renames_does_not_cost_the_old_directory(tmp_path):
    # As a kill leaves it: the old directory is moved aside, the new one still has its temporary name.
    for name, text in ((".model.old", "old"), (".model.tmp", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
    with pytest.raises(RuntimeError), replacing(tmp_path / "model"):
        raise RuntimeError
    assert "old" in tree(tmp_path).values()


def test_json_is_sorted_and_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": [1, 2.5, None]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1, 2.5, None]}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_without_a_number_for_it_is_refused_and_nothing_is_written(tmp_path, number):
    write_text(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert tree(tmp_path) == {"a.json": "old"}


def test_remove_takes_files_directories_and_nothing(tmp_path):
    (tmp_path / "directory" / "deep").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name in ("directory", "file", "absent"):
        remove(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_remove_takes_a_link_and_not_what_it_points_to(tmp_path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    remove(tmp_path / "link")
    assert list(tmp_path.iterdir()) == [tmp_path / "directory"]


def test_a_files_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_a_directorys_hash_knows_names_places_and_bytes(tmp_path):
    def hash_of(name, **files):
        for file, text in files.items():
            write_text(tmp_path / name / file.replace("__", "/"), text)
        return sha256_of(tmp_path / name)

    first = hash_of("first", a="1", b="2")
    assert hash_of("same", b="2", a="1") == first
    others = [
        hash_of("bytes", a="1", b="3"),
        hash_of("swapped", a="2", b="1"),
        hash_of("names", a="1", c="2"),
        hash_of("places", a="1", d__b="2"),
        hash_of("fewer", a="1"),
    ]
    assert len({first, *others}) == 6


def test_a_write_that_fits_is_allowed(tmp_path):
    require_space(tmp_path, 0, "a checkpoint")


def test_a_write_that_would_fill_the_disk_is_refused(tmp_path):
    with pytest.raises(DiskFull, match=r"a checkpoint needs 1000000000000 MiB free, \d+ MiB are"):
        require_space(tmp_path, 1e12, "a checkpoint")
