import pytest

from apo_core.files import replacing


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
