/**
 * The small languages inside the file's strings. Each function reads one of them and throws VALUE_INVALID with
 * the reason and the way out; the caller knows where in the file it stood.
 */
import { isIP } from "node:net";
import { constants } from "node:os";
import { isAbsolute } from "node:path";
import { formatAddress, parseAddress, SUN_PATH_MAX, type TcpAddress } from "../../handoff/address.ts";
import { CodedError } from "../../handoff/coded-error.ts";

const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/** setTimeout's limit is 2^31-1 ms, a little more. */
const LONGEST_MS = 24 * UNITS.d;

const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/u;

function refuse(message: string): never {
  throw new CodedError("VALUE_INVALID", message);
}

/** Reads `500ms`, `30s`, `1h30m`; the result is in milliseconds. */
export function parseDuration(text: string): number {
  if (/^[\d.]+$/u.test(text)) {
    refuse(`"${text}" has no unit, and could be seconds or milliseconds; write "${text}s" or "${text}ms"`);
  }
  if (text.startsWith("-")) refuse(`"${text}" is negative, and time does not run back; write "0s" for none`);
  const match = DURATION.exec(text);
  if (match === null || text === "") {
    refuse(
      `"${text}" is not a duration; whole numbers with the units d, h, m, s, ms, the largest first, are needed; write one such as "30s", "1h30m" or "500ms"`,
    );
  }
  const [, d = 0, h = 0, m = 0, s = 0, ms = 0] = match;
  const total =
    Number(d) * UNITS.d + Number(h) * UNITS.h + Number(m) * UNITS.m + Number(s) * UNITS.s + Number(ms);
  if (total > LONGEST_MS) refuse(`"${text}" is longer than a timer can run; write at most "24d"`);
  return total;
}

/** Writes milliseconds so that `parseDuration` reads the same. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = "";
  for (const [unit, size] of Object.entries(UNITS)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === "" ? "0s" : text;
}

/** Reads `5%` and `0.05` as 0.05. */
export function parseWeight(text: string): number {
  const match = /^(\d{1,3}(?:\.\d+)?)%$|^(\d+(?:\.\d+)?(?:e-\d+)?)$/u.exec(text);
  const [, percent, share] = match ?? [];
  const weight = percent === undefined ? Number(share) : Number(percent) / 100;
  if (share !== undefined && weight >= 1) {
    refuse(
      `"${text}" has no unit, and could be a share or a percentage; write "${weight === 1 ? "1" : text}%", or a share below 1 such as 0.05`,
    );
  }
  if (match === null || weight >= 1) {
    refuse(
      `"${text}" is not a step's weight; it is below 100%, which is the end of every deploy; write "5%"`,
    );
  }
  return weight;
}

/** Reads an octal file mode or umask, such as `0660`. */
export function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/u.test(text)) {
    refuse(
      `"${text}" is not a mode; three octal digits with a leading 0 are needed; write one such as "0660"`,
    );
  }
  return Number.parseInt(text, 8);
}

/** Reads `SIGTERM` or `TERM`. */
export function parseSignal(text: string): NodeJS.Signals {
  if (/^\d+$/u.test(text)) {
    refuse(
      `"${text}" is a number, and signals have different numbers on different machines; write the name, such as SIGTERM`,
    );
  }
  const name = text.startsWith("SIG") ? text : `SIG${text}`;
  if (!Object.hasOwn(constants.signals, name)) {
    refuse(
      `"${text}" is not a signal of this system (signal(7)); write one such as SIGTERM, SIGINT or SIGQUIT`,
    );
  }
  if (name === "SIGKILL" || name === "SIGSTOP") {
    refuse(
      `${name} cannot be handled, so that the application could not drain; write one such as SIGTERM (SIGKILL follows after drain.timeout)`,
    );
  }
  return name as NodeJS.Signals;
}

/** Reads `1s..30s`. */
export function parseBackoff(text: string): { readonly minMs: number; readonly maxMs: number } {
  const [from, to, more] = text.split("..");
  if (from === undefined || to === undefined || more !== undefined) {
    refuse(`"${text}" is not a range of durations; write the first and the longest pause, as in "1s..30s"`);
  }
  const [minMs, maxMs] = [parseDuration(from), parseDuration(to)];
  if (minMs === 0)
    refuse(
      `"${text}" begins at 0, and a crashing program would be restarted without a pause; write "1s..30s"`,
    );
  if (minMs > maxMs) {
    refuse(`"${text}" begins above its end; the first pause is the shortest; write "${to}..${from}"`);
  }
  return { minMs, maxMs };
}

/** Reads an absolute path of a file or directory. */
export function parseAbsolute(text: string): string {
  if (text.includes("\0")) refuse("the path contains a NUL byte, which no file name can; remove it");
  if (!isAbsolute(text)) {
    refuse(
      `"${text}" is not absolute, and it would depend on where the daemon was started; write it from the "/" on`,
    );
  }
  return text;
}

/** Reads the path of a unix socket. */
export function parseSocketPath(text: string): string {
  parseAbsolute(text);
  const size = Buffer.byteLength(text);
  if (size >= SUN_PATH_MAX) {
    refuse(
      `the path has ${size} bytes, and the kernel's sun_path has room for ${SUN_PATH_MAX} with a NUL byte; shorten it to ${SUN_PATH_MAX - 1}`,
    );
  }
  return text;
}

/** Reads a TCP address for the daemon itself: an address that a listener could have, without a kernel-chosen port. */
export function parseTcpAddress(text: string): TcpAddress {
  const address = parseAddress(text);
  if (address.kind !== "tcp") {
    refuse(
      `"${formatAddress(address)}" is not a TCP address; this speaks TCP only; write one such as "127.0.0.1:9700"`,
    );
  }
  return address;
}

/** Reads a network in CIDR notation, or a single address. */
export function parseNetwork(text: string): string {
  const [host = "", bits, more] = text.split("/");
  const version = isIP(host);
  const widest = version === 6 ? 128 : 32;
  if (
    version === 0 ||
    more !== undefined ||
    (bits !== undefined && !(/^\d{1,3}$/u.test(bits) && Number(bits) <= widest))
  ) {
    refuse(
      `"${text}" is not a network; an address and a prefix length are needed; write one such as "10.1.0.0/16"`,
    );
  }
  return text;
}

/**
 * Reads the address of a Prometheus server; the result has no slash at its end. What is refused is not repeated: it may
 * contain a password.
 */
export function parsePrometheusUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    refuse(
      'this is not a URL; the scheme and the host are needed; write one such as "http://127.0.0.1:9090"',
    );
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    refuse(
      `the scheme "${url.protocol}" cannot be asked; Prometheus speaks HTTP; write "http:" or "https:", as in "http://127.0.0.1:9090"`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    refuse(
      "it contains a user name or a password; this file is no place for secrets, and they would stand in every message about the URL; remove them and use command: with a program that reads them from a file of its own",
    );
  }
  if (url.search !== "" || url.hash !== "") {
    refuse('it has a "?" or a "#"; the daemon adds /api/v1/query and the query itself; write it up to there');
  }
  if (/\/api\/v1(\/query)?\/?$/u.test(url.pathname)) {
    refuse("it ends with the path of a query, which the daemon adds itself; write it without /api/v1/query");
  }
  return url.href.replace(/\/+$/u, "");
}

/** Reads what goes to execve(2), which ends strings at NUL. */
export function parseText(text: string): string {
  if (text.includes("\0")) refuse("it contains a NUL byte, which no argument or variable can; remove it");
  return text;
}

/** The readers that the schema names by `x-value`. */
export const VALUES = {
  duration: parseDuration,
  weight: parseWeight,
  mode: parseMode,
  signal: parseSignal,
  backoff: parseBackoff,
  path: parseAbsolute,
  "socket-path": parseSocketPath,
  address: parseAddress,
  "tcp-address": parseTcpAddress,
  network: parseNetwork,
  "prometheus-url": parsePrometheusUrl,
  text: parseText,
} as const satisfies Record<string, (text: string) => unknown>;

export type ValueKind = keyof typeof VALUES;
