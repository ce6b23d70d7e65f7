"""Where commands may write."""

import os
from pathlib import Path

import pytest

from plumewatch.cli.output_file import OutputFileError, check_output


def test_a_new_name_and_with_force_one_that_is_taken(tmp_path):
    path = tmp_path / "r.csv"
    check_output(path, force=False)
    path.touch()
    check_output(path, force=True)
    with pytest.raises(OutputFileError, match="--force"):
        check_output(path, force=False)


@pytest.mark.parametrize("what", ["folder", "no folder", "pipe", "link", "broken link", "device"])
def test_what_is_no_file_is_never_replaced(tmp_path, what):
    path = tmp_path / "r.csv"
    if what == "folder":
        path.mkdir()
    elif what == "no folder":
        path = tmp_path / "none" / "r.csv"
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/null")
    else:
        path.symlink_to(tmp_path / "other")
        if what == "link":
            (tmp_path / "other").touch()
    with pytest.raises(OutputFileError, match="not a"):
        check_output(path, force=True)


def test_endings(tmp_path):
    check_output(tmp_path / "r.PDF", force=False, endings=(".pdf", ".zip"))
    with pytest.raises(OutputFileError, match=r"must end in \.pdf or \.zip"):
        check_output(tmp_path / "r.csv", force=False, endings=(".pdf", ".zip"))
