"""Where the server of a directory is: what ``stepwell dev`` leaves for the other commands to find."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

PORT: Final = 8288
URL_DEFAULT: Final = f"http://127.0.0.1:{PORT}"

_FOLDER: Final = Path(".stepwell")
_FILE: Final = _FOLDER / "url"


def server_url(given: str | None) -> str:
    """The address that was named, else that of the ``stepwell dev`` started here or above, else the usual one."""
    if given:
        return given
    for folder in (Path.cwd(), *Path.cwd().parents):
        with suppress(OSError):
            return (folder / _FILE).read_text().strip() or URL_DEFAULT
    return URL_DEFAULT


def publish(url: str) -> None:
    """Tell the commands of this directory where the server is. At the usual address they look anyway."""
    if url == URL_DEFAULT:
        withdraw()
        return
    with suppress(OSError):  # a directory that cannot be written to; --url does it
        prepare_folder(_FOLDER)
        _FILE.write_text(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:") + "\n")


def withdraw() -> None:
    """The server has ended."""
    with suppress(OSError):
        _FILE.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Our own folder tells git to look away. Others are made by whoever needs them."""
    if folder.name == _FOLDER.name and not folder.exists() and folder.parent.exists():
        with suppress(OSError):  # whoever needs it says what is wrong
            folder.mkdir(mode=0o700)
            (folder / ".gitignore").write_text("*\n")
