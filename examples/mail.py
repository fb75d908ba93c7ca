"""E-mail that goes to a folder: real messages in real files, which any mail program opens."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path

from examples.base import folder, write_whole

SENDER = "Stepwell examples <hello@examples.invalid>"


def send_mail(key: str, to: str, subject: str, body: str) -> str:
    """Put a message into the outbox, and return the name of its file.

    ``key`` names the message: sending it a second time replaces the file instead of adding another. A real mail service
    takes such a key as well, mostly as an "idempotency key".
    """
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = SENDER
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{key}@examples.invalid>"
    message.set_content(body, cte="8bit")
    path = outbox() / f"{key}.eml"
    write_whole(path, message.as_bytes().decode())
    return path.name


def outbox() -> Path:
    return folder("outbox")


def read_mail(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), EmailMessage, policy=SMTPUTF8)
