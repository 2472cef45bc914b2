/**
 * Addresses as people write them. An address is a literal: names are refused, because what a name means may
 * change between two looks, and the daemon must know which socket it owns.
 *
 *   tcp:0.0.0.0:8080   tcp:[::]:80   127.0.0.1:8080   [::1]:80   8080 (all IPv4 addresses of the host)
 *   unix:/run/app.sock   unix:@abstract   systemd:NAME (inherited from a .socket unit)
 */
import { isIPv4, isIPv6 } from "node:net";
import { CodedError } from "./coded-error.ts";

/** A literal address and a port; 0 lets the kernel choose. `host` is in its canonical form. */
export interface TcpAddress {
  readonly kind: "tcp";
  readonly family: "inet" | "inet6";
  readonly host: string;
  readonly port: number;
}

export type ListenerAddress =
  | TcpAddress
  | { readonly kind: "unix"; readonly path: string }
  /** `name` without the leading "@" or NUL byte. */
  | { readonly kind: "abstract"; readonly name: string }
  /** `name` is the FileDescriptorName of a .socket unit. */
  | { readonly kind: "inherited"; readonly name: string };

/** sizeof(sun_path), unix(7). A path needs one byte of it for its NUL, an abstract name for the leading one. */
export const SUN_PATH_MAX = 108;

/** The longest path of a listener: its slots' hidden names (unix-listener.ts) are longer by ".", ".255" and ".s". */
const LISTENER_PATH_MAX = SUN_PATH_MAX - 1 - 7;

function refuse(text: string, why: string): never {
  throw new CodedError("ADDRESS_INVALID", `"${text}" is not an address to listen on: ${why}`, {
    details: { address: text },
  });
}

/**
 * Reads a listener's address.
 *
 * @throws CodedError ADDRESS_INVALID, with the reason and the way out; ADDRESS_UNSUPPORTED for udp: and unixgram:.
 */
export function parseAddress(text: string): ListenerAddress {
  if (text === "") refuse(text, 'it is empty; write one such as "tcp:0.0.0.0:8080" or "unix:/run/app.sock"');
  if (/\s/u.test(text)) refuse(text, "it contains white space; remove it");
  const scheme = /^([A-Za-z]+):(.*)$/su.exec(text);
  if (scheme === null) return parseTcp(text, text);
  const [, protocol = "", rest = ""] = scheme;
  switch (protocol) {
    case "tcp":
      return parseTcp(text, rest);
    case "unix":
      return parseUnix(text, rest);
    case "systemd":
      return parseInherited(text, rest);
    case "udp":
    case "unixgram":
      throw new CodedError(
        "ADDRESS_UNSUPPORTED",
        `"${text}" asks for datagrams, and handoffd hands over stream sockets only; use "${protocol === "udp" ? "tcp" : "unix"}:", ` +
          "or let the application open this socket itself",
        { details: { address: text, protocol } },
      );
    default:
      if (/^\d+$/u.test(rest)) refuse(text, nameRefused(protocol, rest));
      refuse(text, `the protocol "${protocol}" is unknown; use "tcp:", "unix:" or "systemd:"`);
  }
}

function parseTcp(text: string, rest: string): TcpAddress {
  if (/^\d+$/u.test(rest))
    return { kind: "tcp", family: "inet", host: "0.0.0.0", port: parsePort(text, rest) };
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/su.exec(rest);
  if (bracketed !== null) {
    const [, host = "", port] = bracketed;
    if (host.includes("%")) {
      refuse(
        text,
        "an IPv6 zone (%…) names an interface, which may come and go; use an address without a zone",
      );
    }
    if (!isIPv6(host)) refuse(text, `"${host}" is not an IPv6 address; write one such as "[::]:80"`);
    const canonical = canonicalInet6(host);
    if (canonical.startsWith("::ffff:")) {
      refuse(text, 'it is an IPv4 address in IPv6 clothes; write the IPv4 address, as in "127.0.0.1:80"');
    }
    return { kind: "tcp", family: "inet6", host: canonical, port: parsePort(text, port) };
  }
  // Every IPv6 address has two colons; isIPv6() takes milliseconds when it is asked first.
  if (rest.split(":").length > 2) {
    refuse(text, 'an IPv6 address stands in brackets, with the port behind them, as in "[::1]:80"');
  }
  const [host = "", port] = rest.split(":");
  if (host === "")
    refuse(text, 'the address before the port is missing; write "0.0.0.0:PORT" or the port alone');
  if (!isIPv4(host)) {
    if (/^[\d.]+$/u.test(host)) {
      refuse(
        text,
        `"${host}" is not an IPv4 address: four numbers of 0 to 255 without leading zeros, as in "127.0.0.1"`,
      );
    }
    refuse(text, nameRefused(host, port));
  }
  return { kind: "tcp", family: "inet", host, port: parsePort(text, port) };
}

function nameRefused(host: string, port: string | undefined): string {
  const hint = host === "localhost" ? "127.0.0.1" : "0.0.0.0";
  return `"${host}" is a name; an address is needed, not a name, such as "${hint}:${port ?? "8080"}"`;
}

function parsePort(text: string, port: string | undefined): number {
  if (port === undefined || port === "")
    refuse(text, 'the port is missing; write it behind a colon, as in ":8080"');
  if (!/^\d+$/u.test(port)) refuse(text, `the port "${port}" is not a number; write one of 1 to 65535`);
  const number = Number(port);
  if (number > 65535) refuse(text, `the port ${port} is too large; ports end at 65535`);
  return number;
}

function parseUnix(text: string, rest: string): ListenerAddress {
  if (rest.includes("\0")) refuse(text, "it contains a NUL byte; remove it");
  const size = Buffer.byteLength(rest);
  if (rest.startsWith("@")) {
    if (size === 1) refuse(text, 'the abstract name is empty; write one, as in "unix:@app"');
    // The "@" stands for the leading NUL, which counts.
    if (size > SUN_PATH_MAX) {
      refuse(
        text,
        `its name has ${size - 1} bytes, and the kernel's sun_path has room for ${SUN_PATH_MAX} with a NUL byte; shorten it to ${SUN_PATH_MAX - 1}`,
      );
    }
    return { kind: "abstract", name: rest.slice(1) };
  }
  if (!rest.startsWith("/")) {
    refuse(
      text,
      'the path must be absolute, because nobody knows from where; write "unix:/run/…" (or "unix:@name" for an abstract one)',
    );
  }
  if (rest.endsWith("/")) refuse(text, "the path ends in a slash; name the socket itself");
  if (size > LISTENER_PATH_MAX) {
    refuse(
      text,
      `its path has ${size} bytes, and the kernel's sun_path has room for ${SUN_PATH_MAX}, a NUL byte and a slot's hidden name included; shorten it to ${LISTENER_PATH_MAX}`,
    );
  }
  return { kind: "unix", path: rest };
}

function parseInherited(text: string, name: string): ListenerAddress {
  // FileDescriptorName= of systemd.socket(5): printable ASCII, no colon, at most 255.
  if (!/^[!-9;-~]{1,255}$/u.test(name)) {
    refuse(
      text,
      'write the FileDescriptorName of the .socket unit behind "systemd:", without colons or spaces',
    );
  }
  return { kind: "inherited", name };
}

/** RFC 5952: lower case, no leading zeros, the longest run of zeros as "::". The URL standard serialises so. */
function canonicalInet6(host: string): string {
  return new URL(`http://[${host}]/`).hostname.slice(1, -1);
}

/** Writes an address so that `parseAddress` reads the same. */
export function formatAddress(address: ListenerAddress): string {
  switch (address.kind) {
    case "tcp":
      return `tcp:${formatHostPort(address)}`;
    case "unix":
      return `unix:${address.path}`;
    case "abstract":
      return `unix:@${address.name}`;
    case "inherited":
      return `systemd:${address.name}`;
  }
}

/** `host:port`, the host in brackets where it is IPv6: what a URL, a person and the API want. */
export function formatHostPort(address: Pick<TcpAddress, "family" | "host" | "port">): string {
  return address.family === "inet6" ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
