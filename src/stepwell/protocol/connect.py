"""What workers that connect and their gateway say to each other: frames of Protocol Buffers (protocol §11.3, ADR 0024).

A message is a struct, and its table says under which number each member travels. What a table does not name is passed
over, so that newer SDKs may say more.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from stepwell.limits import CONNECT_LIST_MAX, CONNECT_MEMBERS_MAX

M = TypeVar("M", bound=msgspec.Struct)

SUBPROTOCOL: Final = "v0.connect.inngest.com"
PATH: Final = "/v0/connect"
"""Of the gateway, and before that of the requests over HTTP."""


class Malformed(Exception):
    """The bytes are no such message."""


class Kind(IntEnum):
    """What a frame is about (``GatewayMessageType``)."""

    GATEWAY_HELLO = 0
    WORKER_CONNECT = 1
    GATEWAY_CONNECTION_READY = 2
    GATEWAY_EXECUTOR_REQUEST = 3
    WORKER_READY = 4
    WORKER_REQUEST_ACK = 5
    WORKER_REPLY = 6
    WORKER_REPLY_ACK = 7
    WORKER_PAUSE = 8
    WORKER_HEARTBEAT = 9
    GATEWAY_HEARTBEAT = 10
    GATEWAY_CLOSING = 11
    WORKER_REQUEST_EXTEND_LEASE = 12
    WORKER_REQUEST_EXTEND_LEASE_ACK = 13
    SYNC_FAILED = 14
    WORKER_STATUS = 15


class Status(IntEnum):
    """How a call ended, in place of the status of HTTP (``SDKResponseStatus``)."""

    NOT_COMPLETED = 0
    DONE = 1
    ERROR = 2


class Frame(msgspec.Struct, frozen=True):
    """``ConnectMessage``. ``kind`` is a number, because it may be one that we do not know."""

    kind: int = 0
    payload: bytes = b""


class StartRequest(msgspec.Struct, frozen=True):
    exclude_gateways: list[str] = []


class StartResponse(msgspec.Struct, frozen=True, kw_only=True):
    connection_id: str = ""
    gateway_endpoint: str = ""
    gateway_group: str = ""
    session_token: str = ""
    sync_token: str = ""


class AuthData(msgspec.Struct, frozen=True):
    session_token: str = ""
    sync_token: str = ""


class AppConfiguration(msgspec.Struct, frozen=True):
    """``functions`` is a JSON array of configurations (protocol §4.5)."""

    app_name: str = ""
    app_version: str | None = None
    functions: bytes = b""


class WorkerConnect(msgspec.Struct, frozen=True, kw_only=True):
    """``WorkerConnectRequestData``, as far as anything follows from it."""

    connection_id: str = ""
    instance_id: str = ""
    auth_data: AuthData = AuthData()
    apps: list[AppConfiguration] = []
    worker_manual_readiness_ack: bool = False
    environment: str | None = None
    framework: str = ""
    platform: str | None = None
    sdk_version: str = ""
    sdk_language: str = ""
    max_worker_concurrency: int | None = None


class ConnectionReady(msgspec.Struct, frozen=True):
    """``GatewayConnectionReadyData``. Intervals are whole seconds with their unit: Python reads nothing else."""

    heartbeat_interval: str = ""
    extend_lease_interval: str = ""
    status_interval: str = ""


class ExecutorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``GatewayExecutorRequestData``: a call; ``request_payload`` is its body as over HTTP."""

    request_id: str = ""
    account_id: str = ""
    env_id: str = ""
    app_id: str = ""
    app_name: str = ""
    function_id: str = ""
    function_slug: str = ""
    step_id: str | None = None
    request_payload: bytes = b""
    system_trace_ctx: bytes = b""
    user_trace_ctx: bytes = b""
    run_id: str = ""
    lease_id: str = ""
    job_id: str = ""


class RequestAck(msgspec.Struct, frozen=True):
    """``WorkerRequestAckData``; the rest of it is an echo, and SDKs leave out different parts."""

    request_id: str = ""


class ExtendLease(msgspec.Struct, frozen=True):
    """``WorkerRequestExtendLeaseData``."""

    request_id: str = ""
    account_id: str = ""
    env_id: str = ""
    app_id: str = ""
    function_slug: str = ""
    lease_id: str = ""


class ExtendLeaseAck(msgspec.Struct, frozen=True, kw_only=True):
    """``WorkerRequestExtendLeaseAckData``. Without ``new_lease_id`` the lease is lost."""

    request_id: str = ""
    account_id: str = ""
    env_id: str = ""
    app_id: str = ""
    function_slug: str = ""
    new_lease_id: str | None = None


class WorkerReply(msgspec.Struct, frozen=True, kw_only=True):
    """``SDKResponse``: the answer to a call."""

    request_id: str = ""
    status: int = 0
    body: bytes = b""
    no_retry: bool = False
    retry_after: str | None = None
    sdk_version: str = ""
    request_version: int = 0
    run_id: str = ""


class ReplyAck(msgspec.Struct, frozen=True):
    """``WorkerReplyAckData``, and ``FlushResponse``."""

    request_id: str = ""


class SystemError(msgspec.Struct, frozen=True, kw_only=True):
    code: str = ""
    data: bytes | None = None
    message: str = ""


class _Field(NamedTuple):
    """``type`` is ``str``, ``bytes``, ``bool``, the width of an integer in bits, or the struct of a message."""

    number: int
    name: str
    type: Any
    optional: bool = False
    repeated: bool = False
    signed: bool = True

    @property
    def wire(self) -> int:
        return _VARINT if self.type is bool or isinstance(self.type, int) else _BYTES


def _texts(*names: str, first: int = 1) -> tuple[_Field, ...]:
    return tuple(_Field(number, name, str) for number, name in enumerate(names, first))


_ECHO: Final = ("request_id", "account_id", "env_id", "app_id", "function_slug")

TABLES: Final[dict[type[msgspec.Struct], tuple[str, tuple[_Field, ...]]]] = {
    Frame: ("ConnectMessage", (_Field(1, "kind", 32), _Field(2, "payload", bytes))),
    StartRequest: ("StartRequest", (_Field(1, "exclude_gateways", str, repeated=True),)),
    StartResponse: (
        "StartResponse",
        _texts("connection_id", "gateway_endpoint", "gateway_group", "session_token", "sync_token"),
    ),
    AuthData: ("AuthData", _texts("session_token", "sync_token")),
    AppConfiguration: (
        "AppConfiguration",
        (_Field(1, "app_name", str), _Field(2, "app_version", str, optional=True), _Field(4, "functions", bytes)),
    ),
    WorkerConnect: (
        "WorkerConnectRequestData",
        (
            _Field(1, "connection_id", str),
            _Field(2, "instance_id", str),
            _Field(3, "auth_data", AuthData),
            _Field(5, "apps", AppConfiguration, repeated=True),
            _Field(6, "worker_manual_readiness_ack", bool),
            _Field(8, "environment", str, optional=True),
            _Field(9, "framework", str),
            _Field(10, "platform", str, optional=True),
            _Field(11, "sdk_version", str),
            _Field(12, "sdk_language", str),
            _Field(14, "max_worker_concurrency", 64, optional=True),
        ),
    ),
    ConnectionReady: (
        "GatewayConnectionReadyData",
        _texts("heartbeat_interval", "extend_lease_interval", "status_interval"),
    ),
    ExecutorRequest: (
        "GatewayExecutorRequestData",
        (
            *_texts("request_id", "account_id", "env_id", "app_id", "app_name", "function_id", "function_slug"),
            _Field(8, "step_id", str, optional=True),
            _Field(9, "request_payload", bytes),
            _Field(10, "system_trace_ctx", bytes),
            _Field(11, "user_trace_ctx", bytes),
            *_texts("run_id", "lease_id", "job_id", first=12),
        ),
    ),
    RequestAck: ("WorkerRequestAckData", _texts("request_id")),
    ExtendLease: ("WorkerRequestExtendLeaseData", (*_texts(*_ECHO), _Field(10, "lease_id", str))),
    ExtendLeaseAck: (
        "WorkerRequestExtendLeaseAckData",
        (*_texts(*_ECHO), _Field(6, "new_lease_id", str, optional=True)),
    ),
    WorkerReply: (
        "SDKResponse",
        (
            _Field(1, "request_id", str),
            _Field(5, "status", 32),
            _Field(6, "body", bytes),
            _Field(7, "no_retry", bool),
            _Field(8, "retry_after", str, optional=True),
            _Field(9, "sdk_version", str),
            _Field(10, "request_version", 32, signed=False),
            _Field(13, "run_id", str),
        ),
    ),
    ReplyAck: ("WorkerReplyAckData", _texts("request_id")),
    SystemError: (
        "SystemError",
        (_Field(1, "code", str), _Field(2, "data", bytes, optional=True), _Field(3, "message", str)),
    ),
}
"""The name of each message in the protocol, and its members."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX: Final = 10
_NUMBER_MAX: Final = (1 << 29) - 1
_BY_NUMBER: Final = {message: {field.number: field for field in fields} for message, (_, fields) in TABLES.items()}


def frame(kind: Kind, message: msgspec.Struct | None = None) -> bytes:
    """What is sent: a message and what it is about."""
    return encode(Frame(kind, b"" if message is None else encode(message)))


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message. Members that have the value of an absent one are left out (proto3)."""
    out = bytearray()
    for field in TABLES[type(message)][1]:
        value = getattr(message, field.name)
        if field.repeated:
            for each in value:
                _write(out, field, each)
        elif value is not None and (field.optional or value):
            _write(out, field, value)
    return bytes(out)


def decode(message: type[M], data: bytes) -> M:
    """The message in these bytes. Raises ``Malformed``."""
    fields = _BY_NUMBER[message]
    found: dict[str, Any] = {}
    at, end, left = 0, len(data), CONNECT_MEMBERS_MAX
    while at < end:
        left -= 1
        if left < 0:
            raise Malformed(f"it has more than {CONNECT_MEMBERS_MAX:,} members")
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _NUMBER_MAX:
            raise Malformed(f"{number} is the number of no member")
        field = fields.get(number)
        value: int | bytes
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            if wire == _BYTES:
                size, at = _varint(data, at)
            elif wire in _FIXED:
                size = _FIXED[wire]
            else:
                raise Malformed(f"{wire} is the type of no member")
            if size > end - at:
                raise Malformed("it ends in the middle of a member")
            value, at = data[at : at + size], at + size
        if field is None or wire != field.wire:
            continue  # what we do not know
        read = _read(field, value)
        if not field.repeated:
            found[field.name] = read
            continue
        listed: list[Any] = found.setdefault(field.name, [])
        listed.append(read)
        if len(listed) > CONNECT_LIST_MAX:
            raise Malformed(f"{field.name} has more than {CONNECT_LIST_MAX:,} members")
    return message(**found)


def _write(out: bytearray, field: _Field, value: Any) -> None:
    if field.wire == _VARINT:
        _write_varint(out, field.number << 3 | _VARINT)
        _write_varint(out, int(value) & 0xFFFF_FFFF_FFFF_FFFF)
        return
    raw: bytes = value if field.type is bytes else value.encode() if field.type is str else encode(value)
    _write_varint(out, field.number << 3 | _BYTES)
    _write_varint(out, len(raw))
    out += raw


def _write_varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for count, byte in enumerate(data[at : at + _VARINT_BYTES_MAX]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at + count + 1
    cut = len(data) - at < _VARINT_BYTES_MAX
    raise Malformed("it ends in the middle of a number" if cut else "a number does not end")


def _read(field: _Field, value: int | bytes) -> Any:
    if isinstance(value, int):
        if field.type is bool:
            return value != 0
        value &= (1 << field.type) - 1
        return value - (1 << field.type) if field.signed and value >> field.type - 1 else value
    if field.type is bytes:
        return value
    if field.type is not str:
        return decode(field.type, value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed(f"{field.name} is no text") from None
