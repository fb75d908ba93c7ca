"""Finds the app that ``stepwell dev`` is to run, and says what is wrong with it if it does not load."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import stepwell
from stepwell.errors import ConfigurationError, NotFound
from stepwell.sdk.app import Stepwell

_OURS: Final = str(Path(stepwell.__file__).resolve().parent) + os.sep
_FOREIGN: Final = tuple(
    str(Path(path).resolve()) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)


class DoesNotLoad(Exception):
    """The user's code raised while it was imported. ``report`` is its traceback without our frames."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(where)
        self.where = where
        self.report = _report(error)


class Target:
    """What was named: ``app.py``, ``app.py:app``, ``module`` or ``module:app``."""

    def __init__(self, text: str) -> None:
        # A drive letter is no separator: C:\app.py
        name, colon, attribute = text.rpartition(":")
        if not colon or "/" in attribute or "\\" in attribute:
            name, attribute = text, ""
        self.text = text
        self.name = name
        self.attribute = attribute
        self.is_file = name.endswith(".py") or "/" in name or "\\" in name

    def check(self) -> None:
        """Raises ``NotFound`` if there is nothing of that name."""
        if self.is_file and not Path(self.name).is_file():
            if Path(self.name).is_dir():
                raise NotFound(f"{self.name} is a directory", "an app is in one file or module", "name that file")
            near = sorted(str(path) for path in Path(self.name).parent.glob("*.py"))[:5]
            fix = f"here are: {', '.join(near)}" if near else "check the path"
            raise NotFound(f"there is no file {self.name}", f"looked in {Path(self.name).parent.resolve()}", fix)
        if self.is_file and not self.name.endswith(".py"):
            raise _no_python(self.name)
        if not self.is_file:
            _make_importable(Path.cwd())
            try:
                found = importlib.util.find_spec(self.name.partition(".")[0])
            except (ImportError, ValueError):
                found = None
            if found is None and Path(self.name).is_file():
                raise _no_python(self.name)
            if found is None:
                beside = Path(f"{self.name}.py")
                fix = f"did you mean {beside}?" if beside.is_file() else "name a file, such as app.py, or a module"
                raise NotFound(
                    f"there is no module {self.name!r}", f"looked in {Path.cwd()} and what is installed", fix
                )

    def folder(self) -> Path:
        """Where its first file is, or is looked for."""
        return Path(self.name).resolve().parent if self.is_file else Path.cwd()

    def load(self, *, changing: bool = False) -> Stepwell:
        """Import it and find the app. Raises ``DoesNotLoad``, ``ConfigurationError``.

        Of code that is ``changing`` nothing compiled is kept: Python tells files apart by the second and the size, and
        would take one that is saved twice in a moment for what it was before.
        """
        usual = sys.dont_write_bytecode
        sys.dont_write_bytecode = usual or changing
        try:
            module = _import_file(Path(self.name)) if self.is_file else importlib.import_module(self.name)
        except (Exception, SystemExit) as error:
            raise DoesNotLoad(self.name, error) from error
        finally:
            sys.dont_write_bytecode = usual
        return self._app_of(module)

    def _app_of(self, module: ModuleType) -> Stepwell:
        if self.attribute:
            found = vars(module).get(self.attribute)
            if isinstance(found, Stepwell):
                return found
            what = "is not a Stepwell app" if self.attribute in vars(module) else "does not exist"
            raise ConfigurationError(f"{self.text}: {self.attribute!r} {what}", _apps_told(module), _APP_FIX)
        app = vars(module).get("app")
        if isinstance(app, Stepwell):
            return app
        apps = dict(_apps(module))
        if len({id(app) for app in apps.values()}) == 1:
            return next(iter(apps.values()))
        if apps:
            raise ConfigurationError(
                f"{self.name} has {len(apps)} apps", _apps_told(module), f"choose one: {self.name}:{next(iter(apps))}"
            )
        raise ConfigurationError(f"{self.name} has no app", "no name in it is an instance of Stepwell", _APP_FIX)


_APP_FIX: Final = 'make one, as in app = Stepwell("shop"), and name it: stepwell dev app.py:app'


def _no_python(name: str) -> NotFound:
    return NotFound(f"{name} is not a .py file", "an app is Python code", "name the file it is in, such as app.py")


def user_files() -> set[Path]:
    """The files that were imported and belong neither to Python, nor to a library, nor to us."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {own for file in files if isinstance(file, str) and (own := _own(file)) is not None}


@cache
def _own(file: str) -> Path | None:
    path = Path(file).resolve()
    return path if path.suffix == ".py" and not str(path).startswith((*_FOREIGN, _OURS)) else None


def _import_file(path: Path) -> ModuleType:
    """As ``python path`` would see it, but under its own name, so that it can be found again by other processes."""
    path = path.resolve()
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():  # a file of a package is imported as part of it
        parts.insert(0, root.name)
        root = root.parent
    if parts[-1] == "__init__":
        parts.pop()
    _make_importable(root)
    name = ".".join(parts)
    if len(parts) > 1:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _make_importable(root: Path) -> None:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _apps(module: ModuleType) -> Iterator[tuple[str, Stepwell]]:
    for name, value in vars(module).items():
        if isinstance(value, Stepwell):
            yield name, value


def _apps_told(module: ModuleType) -> str:
    names = [name for name, _ in _apps(module)]
    return f"its apps are {', '.join(names)}" if names else "no name in it is an instance of Stepwell"


def _report(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"SystemExit: it calls exit({error.code!r}) when it is imported"
    shown = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    queue = [shown]
    while queue:
        each = queue.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.stack[:] = [
            frame for frame in each.stack if not frame.filename.startswith((_OURS, "<frozen importlib", *_FOREIGN))
        ]
        queue += [other for other in (each.__cause__, each.__context__) if other is not None]
    return "".join(shown.format()).rstrip()
