"""Keeps secrets out of the arguments of the process, which all may read who may list processes (S34).

The process begins again with ``***`` where a secret was, and with what was typed in its environment, which only its
owner may read. From there it is taken at once, so that nothing inherits it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from stepwell.storage.address import may_have_password

_TYPED: Final = "STEPWELL_ARGUMENTS"  # from one image of the process to the next; no setting
_HIDDEN: Final = "***"
_SECRETS: Final = ("--signing-key", "--signing-key-fallback", "--event-key", "--token")


_typed: list[str] = []  # what the user gave, whatever becomes of ``sys.argv``


def hide_secrets() -> None:
    """To be called before anything else. Does not return if there is something to hide."""
    before = _taken()
    if before is not None and hidden(before) == sys.argv[1:]:
        sys.argv[1:] = before
        _typed[:] = before
        return
    _typed[:] = sys.argv[1:]
    if hidden(_typed) != _typed and os.name == "posix":  # elsewhere it would be another process that begins
        begin_again()


def begin_again() -> NoReturn:
    """The same process from its beginning, with the same arguments, and with what ``os.environ`` is by now."""
    interpreter = sys.orig_argv[1 : len(sys.orig_argv) - len(_typed)]
    shown = hidden(_typed)
    if shown != _typed:
        os.environ[_TYPED] = json.dumps(_typed)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *interpreter, *shown])


def hidden(arguments: Sequence[str]) -> list[str]:
    """The arguments as all may read them: without keys, tokens, and addresses of databases that may have a password."""
    shown: list[str] = []
    option = ""
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if option in _SECRETS:
            shown.append(_HIDDEN)
        elif name in _SECRETS and sign:
            shown.append(f"{name}={_HIDDEN}")
        elif may_have_password(argument):
            shown.append(_HIDDEN)
        elif name.startswith("-") and may_have_password(value):
            shown.append(f"{name}={_HIDDEN}")
        else:
            shown.append(argument)
        option = argument
    return shown


def _taken() -> list[str] | None:
    text = os.environ.pop(_TYPED, None)
    return None if text is None else json.loads(text)
