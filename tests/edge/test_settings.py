"""The settings of ``stepwell start`` in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.cli.settings import read_settings
from stepwell.cli.start import command
from stepwell.errors import ConfigurationError


def read(folder: Path, text: str) -> dict[str, object]:
    file = folder / "stepwell.toml"
    file.write_text(text)
    return read_settings(file, command)


def test_settings_have_the_names_of_the_options(tmp_path: Path) -> None:
    text = 'port = 9000\nretry-interval = "1s"\njson_logs = true\nevent-key = ["a", "b"]\nallow-host = "shop.example"\n'

    assert read(tmp_path, text) == {
        "port": 9000,
        "retry_interval": "1s",
        "json_logs": True,
        "event_key": ["a", "b"],
        "allow_host": ["shop.example"],
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 9000", "did you mean port?"),
        ("config = 'other.toml'", "the settings are"),
        ("[http]\nport = 1", "the settings are"),
        ("port = true", "it is a text or a number"),
        ("port = [1, 2]", "it is a text or a number"),
        ("json-logs = 'yes'", "it is true or false"),
        ("event-key = [true]", "or an array of such"),
        ("port 9000", "is not TOML"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)

    assert told in str(refused.value)


def test_a_key_in_a_wrong_setting_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, "signing-key = { key = 'signkey-prod-0011223344' }")

    assert "0011223344" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.toml cannot be read"):
        read_settings(tmp_path / "nothing.toml", command)
