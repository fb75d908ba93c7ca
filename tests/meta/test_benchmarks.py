"""What the benchmarks say of a machine can be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import floors

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdb /tmp/a\\040disk xfs rw 0 0
ramfs /over ramfs rw 0 0
/dev/vdc /over ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/user", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/below", "tmpfs"),
        ("/tmpfoo", "ext4"),
        ("/tmp/a disk/below", "xfs"),
        ("/over", "ext4"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount(folder: str, kind: str):
    assert floors.filesystem(Path(folder), MOUNTS) == kind


def test_where_no_mounts_are_listed_the_file_system_is_unknown():
    assert floors.filesystem(Path("/tmp"), "") == "unknown"


def test_a_temporary_folder_in_memory_is_not_written_to(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STEPWELL_BENCH_DIR", raising=False)
    monkeypatch.setattr(floors.tempfile, "gettempdir", lambda: "/memory")
    monkeypatch.setattr(floors, "_mounts", lambda: "tmpfs /memory tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\n")
    floors._scratch.cache_clear()
    try:
        assert floors.scratch().endswith("build/bench")
        assert floors.scratch_text().endswith("(ext4), because /memory is a RAM disk")
    finally:
        floors._scratch.cache_clear()
