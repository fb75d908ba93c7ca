// E-mail that goes to a folder: real messages in real files, which any mail program opens.

import path from "node:path";

import { folder, writeWhole } from "./base.ts";

const SENDER = "Stepwell examples <hello@examples.invalid>";

/** Put a message into the outbox. `key` names it: sending it a second time replaces the file instead of adding another. */
export function sendMail(key: string, to: string, subject: string, body: string): string {
  const head = [`From: ${SENDER}`, `To: ${to}`, `Subject: ${subject}`, `Message-ID: <${key}@examples.invalid>`];
  const kind = ['Content-Type: text/plain; charset="utf-8"', "Content-Transfer-Encoding: 8bit", "MIME-Version: 1.0"];
  const name = `${key}.eml`;
  writeWhole(path.join(folder("outbox"), name), [...head, ...kind, "", ...body.split("\n"), ""].join("\r\n"));
  return name;
}
