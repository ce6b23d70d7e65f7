"""Test where commands can write."""

import os
from pathlib import Path

import pytest

from plumewatch.cli.options import check_output
from plumewatch.errors import UsageError


def test_a_folder_that_cannot_be_written_is_reported_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="cannot write to this folder; choose another one"):
        check_output(tmp_path / "r.csv", force=True)


@pytest.mark.parametrize("what", ["folder", "no folder", "pipe", "link", "broken link", "device"])
def test_what_is_not_a_file_is_never_replaced(tmp_path, what):
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
    with pytest.raises(UsageError, match="not a"):
        check_output(path, force=True)
