"""Stand-ins for the two packages that workers of the Python SDK need besides, where they are not installed.

``protobuf`` is replaced by a reader and writer that goes by the descriptor which the SDK brings with it, so that what a
worker says is what the SDK's own schema says, and nothing of ours; ``psutil`` by the two numbers that it is asked for.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

_STRING, _MESSAGE, _BYTES, _BOOL, _REPEATED = 9, 11, 12, 8, 3
_SIGNED = {3: 64, 5: 32}


def install() -> None:
    """Be importable in place of what is missing. Call it before ``inngest.connect`` is imported."""
    if find_spec("psutil") is None:
        memory = SimpleNamespace(total=1 << 30)
        _module("psutil", cpu_count=lambda: 2, virtual_memory=lambda: memory)
    if find_spec("google") is None or find_spec("google.protobuf") is None:
        _protobuf()


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    module.__path__ = []
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    return module


def _protobuf() -> None:
    _module("google")
    _module("google.protobuf")
    _module("google.protobuf.message", Message=Message)
    _module("google.protobuf.descriptor", _USE_C_DESCRIPTORS=True)
    pool = SimpleNamespace(AddSerializedFile=lambda text: text)
    _module("google.protobuf.descriptor_pool", Default=lambda: pool)
    _module("google.protobuf.symbol_database", Default=lambda: None)
    _module("google.protobuf.timestamp_pb2")
    _module(
        "google.protobuf.runtime_version",
        Domain=SimpleNamespace(PUBLIC=0),
        ValidateProtobufRuntimeVersion=lambda *version: None,
    )
    _module("google.protobuf.internal")
    _module(
        "google.protobuf.internal.builder",
        BuildMessageAndEnumDescriptors=lambda descriptor, names: None,
        BuildTopDescriptorsAndMessages=lambda descriptor, name, names: names.update(_classes(descriptor)),
    )


class Message:
    """A message of the schema. ``fields`` are number, name, type, whether it is repeated or optional, and its class."""

    fields: ClassVar[dict[int, SimpleNamespace]] = {}

    def __init__(self, **values: Any) -> None:
        for field in self.fields.values():
            value = values.pop(field.name, None)
            setattr(self, field.name, _default(field) if value is None else value)
            setattr(self, f"_has_{field.name}", value is not None)
        assert not values, f"{type(self).__name__} has no {list(values)}"

    def SerializeToString(self) -> bytes:
        out = b""
        for field in self.fields.values():
            value = getattr(self, field.name)
            for each in value if field.repeated else [value]:
                if field.repeated or each or (field.optional and getattr(self, f"_has_{field.name}")):
                    out += _written(field, each)
        return out

    def ParseFromString(self, text: bytes) -> None:
        for number, value in _members(text):
            field = self.fields.get(number)
            if field is None:
                continue
            read = _read(field, value)
            setattr(self, f"_has_{field.name}", True)
            if field.repeated:
                getattr(self, field.name).append(read)
            else:
                setattr(self, field.name, read)


class _Enum:
    def __init__(self, values: dict[str, int]) -> None:
        self.__dict__.update(values)
        self._names = {number: name for name, number in values.items()}

    def Name(self, number: int) -> str:
        return self._names[number]


def _classes(descriptor: bytes) -> dict[str, Any]:
    """The messages and enumerations of a ``FileDescriptorProto``."""
    found: dict[str, Any] = {}
    messages = [dict_of(text) for number, text in _members(descriptor) if number == 4]
    for members in messages:
        found[_name(members)] = type(_name(members), (Message,), {"fields": {}})
    for members in messages:
        for text in members.get(2, []):
            field = dict_of(text)
            of = field.get(6, [b""])[0].decode().rpartition(".")[2]
            number = field[3][0]
            found[_name(members)].fields[number] = SimpleNamespace(
                number=number,
                name=_name(field),
                type=field[5][0],
                repeated=field[4][0] == _REPEATED,
                optional=17 in field,
                of=found.get(of),
            )
    for number, text in _members(descriptor):
        if number == 5:
            members = dict_of(text)
            values = [dict_of(value) for value in members[2]]
            found[_name(members)] = _Enum({_name(value): value.get(2, [0])[0] for value in values})
    return found


def dict_of(text: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in _members(text):
        found.setdefault(number, []).append(value)
    return found


def _name(members: dict[int, list[Any]]) -> str:
    name: str = members[1][0].decode()
    return name


def _default(field: SimpleNamespace) -> Any:
    if field.repeated:
        return []
    return {_STRING: "", _BYTES: b"", _BOOL: False, _MESSAGE: None}.get(field.type, 0)


def _members(text: bytes) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    rest = memoryview(text)
    while rest:
        tag, rest = _number(rest)
        value, rest = _number(rest)
        if tag & 7 == 2:
            value, rest = bytes(rest[:value]), rest[value:]
        else:
            assert tag & 7 == 0
        found.append((tag >> 3, value))
    return found


def _number(rest: memoryview) -> tuple[Any, memoryview]:
    number, at = 0, 0
    while True:
        number |= (rest[at] & 0x7F) << 7 * at
        at += 1
        if rest[at - 1] < 0x80:
            return number, rest[at:]


def _bytes(number: int) -> bytes:
    out = b""
    number &= (1 << 64) - 1
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _written(field: SimpleNamespace, value: Any) -> bytes:
    if field.type not in (_STRING, _BYTES, _MESSAGE):
        return _bytes(field.number << 3) + _bytes(int(value))
    raw = value.encode() if field.type == _STRING else value if field.type == _BYTES else value.SerializeToString()
    return _bytes(field.number << 3 | 2) + _bytes(len(raw)) + raw


def _read(field: SimpleNamespace, value: Any) -> Any:
    if field.type == _MESSAGE:
        message = field.of()
        message.ParseFromString(value)
        return message
    if field.type in _SIGNED:
        width = _SIGNED[field.type]
        return value - (1 << width) if value >> (width - 1) & 1 else value
    return value.decode() if field.type == _STRING else bool(value) if field.type == _BOOL else value
