"""Test the Makefile without a package index."""

from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def test_nothing_is_installed_from_a_folder_together_with_a_lock_file():
    """Lock files have hashes but a folder has none, so pip refuses the combination."""
    lines = [line for line in MAKEFILE.read_text().splitlines() if "pip install" in line]
    from_folder = [line for line in lines if "--editable" in line]
    assert len(from_folder) == 2
    assert not [line for line in from_folder if ".lock" in line]
