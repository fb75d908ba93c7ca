"""An installation as a file."""

from stepwell.storage.exports.format import STANDARD
from stepwell.storage.exports.source import ExportSource
from stepwell.storage.exports.target import ExportTarget

__all__ = ["STANDARD", "ExportSource", "ExportTarget"]
