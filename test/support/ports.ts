/** Where a daemon's listeners really are: tests configure port 0 and ask GET /v1/status. */
import type { Where } from "./net.ts";

export interface ListenerStatus {
  readonly name: string;
  readonly protocol: string;
  readonly address: string;
  readonly mode: "steered" | "renamed" | "shared";
  readonly slots: readonly {
    readonly index: number;
    readonly generation: string | null;
    readonly weight: number;
    readonly queue: { readonly length: number; readonly limit: number } | null;
    readonly held?: readonly { readonly pid: number; readonly command: string }[];
  }[];
}

export interface Address {
  /** For net.ts. */
  readonly where: Where;
  /** For load.ts. */
  readonly target: string;
  /** The path of a unix socket: ""; its port: 0. */
  readonly host: string;
  readonly port: number;
}

/** An address as the API says it, with or without "tcp:", as a client on this host reaches it. */
export function parseAddress(said: string): Address {
  if (/^unix(gram)?:/.test(said) || said.startsWith("/") || said.startsWith("@")) {
    const path = said.replace(/^unix(gram)?:/, "");
    return { where: { path: path.replace(/^@/, "\0") }, target: `unix:${path}`, host: "", port: 0 };
  }
  const found = /^(?:tcp:|udp:)?(?:\[(?<six>[^\]]+)\]|(?<four>[\d.]+)):(?<port>\d+)$/.exec(said);
  if (found?.groups === undefined) throw new Error(`"${said}" is no address`);
  const { six, four, port = "" } = found.groups;
  const host =
    six === undefined ? (four ?? "").replace("0.0.0.0", "127.0.0.1") : six === "::" ? "127.0.0.1" : six;
  const target = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return { where: { host, port: Number(port) }, target, host, port: Number(port) };
}

/** The address of the listener `name`. */
export function addressOf(status: { readonly listeners: readonly ListenerStatus[] }, name: string): Address {
  const listener = status.listeners.find((one) => one.name === name);
  if (listener === undefined) throw new Error(`no listener "${name}" in ${JSON.stringify(status.listeners)}`);
  return parseAddress(listener.address);
}
