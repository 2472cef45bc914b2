/** Bytes that are not HTTP, headers that are too large or too slow: there is no request yet, only a socket. */
import type { Duplex } from "node:stream";

import { messageOf } from "../handoff/coded-error.ts";
import { PROBLEM_TYPE } from "./problem.ts";

export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  const { code = "" } = error;
  // What failed below HTTP (a handshake, a reset) cannot be answered.
  if (!/^(?:HPE|ERR_HTTP)_/u.test(code) || !socket.writable) return void socket.destroy();
  const [status, phrase] =
    code === "HPE_HEADER_OVERFLOW"
      ? ([431, "Request Header Fields Too Large"] as const)
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ([408, "Request Timeout"] as const)
        : ([400, "Bad Request"] as const);
  const body = JSON.stringify({
    type: "urn:handoffd:error:REQUEST_INVALID",
    title: phrase,
    status,
    detail: `The request could not be read: ${messageOf(error)}.`,
    code: "REQUEST_INVALID",
  });
  socket.end(
    `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
