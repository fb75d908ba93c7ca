"""From a syntax tree to closures. Each takes the frame of an evaluation and returns a value.

Closures, because evaluation is the hottest path that meets users' text: they cost a third of walking the tree, and
unlike generated code they cannot run anything that is not written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.syntax import (
    Binary,
    Call,
    Choice,
    Has,
    Index,
    ListOf,
    Literal,
    Logical,
    Loop,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
    children,
    path_of,
)
from stepwell.expressions.values import (
    MISSING,
    OPERATIONS,
    TYPES,
    EvaluationError,
    Frame,
    equal,
    index,
    map_key,
    negate,
    truthy,
    type_name,
    weight,
)

Run = Callable[[Frame], Any]
Scope = Mapping[str, int]  # loop variable -> slot in the frame


def compile_node(node: Node, scope: Scope | None = None) -> Run:
    """The closure that evaluates a checked tree."""
    scope = scope or {}
    match node:
        case Literal():
            return _constant(node.value)
        case Name():
            return _name(node, scope)
        case Select() | Index():
            return _access(node, scope)
        case ListOf():
            return _list(node, scope)
        case MapOf():
            return _map(node, scope)
        case Unary():
            return _unary(node, scope)
        case Binary():
            return _binary(node, scope)
        case Logical():
            return _logical(node, scope)
        case Choice():
            return _choice(node, scope)
        case Call():
            return _call(node, scope)
        case Has():
            path = _access(node.path, scope)
            return lambda frame: path(frame) is not MISSING
        case Loop():
            return _loop(node, scope)


# --- values and paths


def _constant(value: Any) -> Run:
    return lambda frame: value


def _name(node: Name, scope: Scope) -> Run:
    name = node.name
    if name in scope:
        slot = scope[name]
        return lambda frame: frame.locals[slot]
    if name in TYPES:
        return _constant(TYPES[name])
    return lambda frame: frame.env.get(name, MISSING)


def _access(node: Select | Index, scope: Scope) -> Run:
    path = path_of(node)
    if path is not None and path[0] not in scope:
        return _path(path)
    target = compile_node(node.target, scope)
    if isinstance(node, Select):
        field = node.field
        return lambda frame: index(target(frame), field)
    key = compile_node(node.key, scope)
    return lambda frame: index(target(frame), key(frame))


def _path(path: tuple[str, ...]) -> Run:
    # Anything but a map refuses a text as index, so one attempt is both the test and the access.
    if len(path) == 3:
        root, first, second = path

        def load_second(frame: Frame) -> Any:
            try:
                return frame.env[root][first][second]
            except (KeyError, TypeError):
                return MISSING

        return load_second

    def load(frame: Frame) -> Any:
        value: Any = frame.env
        try:
            for name in path:
                value = value[name]
        except (KeyError, TypeError):
            return MISSING
        return value

    return load


def _list(node: ListOf, scope: Scope) -> Run:
    items = [compile_node(item, scope) for item in node.items]
    return lambda frame: [_present(item(frame)) for item in items]


def _map(node: MapOf, scope: Scope) -> Run:
    entries = [(compile_node(key, scope), compile_node(value, scope)) for key, value in node.entries]

    def build(frame: Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_of, value_of in entries:
            key = map_key(key_of(frame))
            if key is MISSING:
                raise EvaluationError("a key of a map is text or a whole number")
            if key in result:
                raise EvaluationError("a map has the same key twice")
            result[key] = _present(value_of(frame))
        return result

    return build


def _present(value: Any) -> Any:
    # Containers hold JSON, which has no word for missing.
    return None if value is MISSING else value


# --- operators


def _unary(node: Unary, scope: Scope) -> Run:
    operand = compile_node(node.operand, scope)
    if node.op == "!":
        return lambda frame: not truthy(operand(frame))
    return lambda frame: negate(operand(frame))


def _binary(node: Binary, scope: Scope) -> Run:
    left, right = compile_node(node.left, scope), compile_node(node.right, scope)
    operate = OPERATIONS[node.op]
    if scope:
        return _metered(operate, left, right)
    if node.op == "==":
        return _equality(left, right)
    return lambda frame: operate(left(frame), right(frame), frame)


def _equality(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        if type(one) is str and type(other) is str:  # nearly always; saves a call
            return one == other
        return equal(one, other, frame)

    return run


def _metered(operate: Callable[[Any, Any, Frame], Any], left: Run, right: Run) -> Run:
    # Reading long text once is cheap. In a loop it is work whose amount the data decides.
    def run(frame: Frame) -> Any:
        one, other = left(frame), right(frame)
        frame.spend(weight(one) + weight(other))
        return operate(one, other, frame)

    return run


def _logical(node: Logical, scope: Scope) -> Run:
    """``&&`` is the first falsy term or the last one, ``||`` the first truthy term or the last one.

    As in CEL, a term that decides makes the errors of earlier ones irrelevant.
    """
    terms = [compile_node(term, scope) for term in node.terms]
    deciding = node.op == "||"

    def run(frame: Frame) -> Any:
        failure: EvaluationError | None = None
        value: Any = None
        for term in terms:
            try:
                value = term(frame)
            except EvaluationError as error:
                failure = failure or error
                continue
            if value is deciding or (value is not True and truthy(value) is deciding):
                return value
        if failure is not None:
            raise failure
        return value

    return run


def _choice(node: Choice, scope: Scope) -> Run:
    condition = compile_node(node.condition, scope)
    then, otherwise = compile_node(node.then, scope), compile_node(node.otherwise, scope)
    return lambda frame: then(frame) if truthy(condition(frame)) else otherwise(frame)


# --- functions and macros


def _call(node: Call, scope: Scope) -> Run:
    function = FUNCTIONS[node.name]
    run, missing = function.run, function.missing
    args = [compile_node(arg, scope) for arg in node.args]

    def call(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        steps = 1
        for value in values:
            if value is MISSING:
                return missing
            steps += weight(value)
        frame.spend(steps)
        return run(frame, *values)

    return call


def _loop(node: Loop, scope: Scope) -> Run:
    over = compile_node(node.over, scope)
    slot = max(scope.values(), default=-1) + 1
    inner = {**scope, node.variable: slot}
    body = compile_node(node.body, inner)
    condition = _constant(True) if node.condition is None else compile_node(node.condition, inner)
    macro = _MACROS[node.macro]
    cost = _size(node)

    def each(frame: Frame, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            frame.spend(cost)
            frame.locals[slot] = value
            yield value

    def run(frame: Frame) -> Any:
        values = over(frame)
        if values is MISSING:
            return [] if node.macro in ("map", "filter") else False
        if type(values) not in (list, dict):
            raise EvaluationError(f"{node.macro}() needs a list or a map, not {type_name(values)}")
        return macro(frame, each(frame, values), body, condition)

    return run


def _exists(frame: Frame, values: Iterator[Any], body: Run, _condition: Run) -> bool:
    return _search(frame, values, body, True)


def _all(frame: Frame, values: Iterator[Any], body: Run, _condition: Run) -> bool:
    return not _search(frame, values, body, False)


def _search(frame: Frame, values: Iterator[Any], body: Run, wanted: bool) -> bool:
    # As with && and ||, an item that decides makes the errors of earlier ones irrelevant.
    failure: EvaluationError | None = None
    for _ in values:
        try:
            if truthy(body(frame)) is wanted:
                return True
        except EvaluationError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return False


def _exists_one(frame: Frame, values: Iterator[Any], body: Run, _condition: Run) -> bool:
    return sum(truthy(body(frame)) for _ in values) == 1


def _filter(frame: Frame, values: Iterator[Any], body: Run, _condition: Run) -> list[Any]:
    return [value for value in values if truthy(body(frame))]


def _collect(frame: Frame, values: Iterator[Any], body: Run, condition: Run) -> list[Any]:
    return [_present(body(frame)) for _ in values if truthy(condition(frame))]


_MACROS: dict[str, Callable[[Frame, Iterator[Any], Run, Run], Any]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _collect,
}


def _size(node: Node) -> int:
    return 1 + sum(map(_size, children(node)))
