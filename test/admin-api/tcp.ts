/** The doors of the API by TCP, with everyone who could ask at them. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";

import { Access, type AccessPolicy } from "../../admin-api/access.ts";
import type { Door, DoorKind, DoorTls } from "../../admin-api/door.ts";
import type { Role } from "../../admin-api/roles.ts";
import type { AdminServer } from "../../admin-api/server.ts";
import { mintToken, parseTokens, type TokenEntry } from "../../admin-api/tokens.ts";
import { native, SO } from "../../handoff/native.ts";
import { type Answer, answerOf, temporaryDirectory } from "./serving.ts";

export interface TcpDoor {
  readonly port: number;
  readonly url: string;
  /** One request as it stands; a string body goes as it is. */
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
    tls?: RequestOptions,
  ) => Promise<Answer>;
}

/** Serves on a port of 127.0.0.1 that the kernel chooses. */
export async function tcpDoor(
  server: AdminServer,
  kind: DoorKind = { kind: "tcp", isLoopback: true, tls: null },
  opened: (door: Door) => void = () => undefined,
): Promise<TcpDoor> {
  const descriptor = native.socket("inet", "stream", true);
  native.setOption(descriptor, SO.SOL_SOCKET, SO.SO_REUSEADDR, 1);
  native.bind(descriptor, { family: "inet", host: "127.0.0.1", port: 0 });
  native.listen(descriptor, 512);
  const address = native.localAddress(descriptor);
  if (address.family === "unix") throw new Error("a TCP socket has no path");
  const { port } = address;
  opened(await server.listenOn(descriptor, kind));
  const isTls = kind.kind === "tcp" && kind.tls !== null;
  const send = isTls ? httpsRequest : httpRequest;
  return {
    port,
    url: `${isTls ? "https" : "http"}://127.0.0.1:${port}`,
    ask: async (method, path, body, headers = {}, tls = {}) =>
      answerOf(send, { host: "127.0.0.1", port, method, path, headers, agent: false, ...tls }, body),
  };
}

export interface Ring {
  readonly policy: AccessPolicy;
  readonly access: Access;
  /** By name: the token that is sent. */
  readonly tokens: Readonly<Record<string, string>>;
  readonly entries: readonly TokenEntry[];
}

export interface Wanted {
  readonly name: string;
  readonly role: Role;
  readonly services?: readonly string[];
  readonly expires?: string;
}

/** One token of each role, and those of `more`; certificates by their CN where `lines` says so. */
export function keyRing(more: readonly Wanted[] = [], lines = "", certificates = false): Ring {
  const wanted: readonly Wanted[] = [
    { name: "reader", role: "read" },
    { name: "deployer", role: "deploy" },
    { name: "admin", role: "admin" },
    ...more,
  ];
  const minted = wanted.map((one) => ({ name: one.name, ...mintToken(one) }));
  const entries = parseTokens(`${minted.map(({ line }) => line).join("\n")}\n${lines}`, "tokens");
  const policy = { grants: [], tokens: entries, certificates };
  return {
    policy,
    access: new Access(policy),
    tokens: Object.fromEntries(minted.map(({ name, token }) => [name, token])),
    entries,
  };
}

export function bearer(token: string | undefined): Readonly<Record<string, string>> {
  return { authorization: `Bearer ${token ?? ""}` };
}

export interface Certificates extends DoorTls {
  readonly ca: string;
  /** A client's certificate with this CN, of the CA, or of another one. */
  readonly client: (
    commonName: string,
    isTrusted?: boolean,
  ) => { readonly cert: string; readonly key: string };
}

/** A CA, a certificate of 127.0.0.1, and clients. */
export async function certificates(): Promise<Certificates> {
  const folder = await temporaryDirectory();
  const openssl = (...args: string[]): unknown =>
    execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const read = (file: string): string => readFileSync(`${folder}/${file}`, "utf8");
  const authority = (name: string): void => {
    const files = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
    openssl("req", "-x509", ...key, ...files, "-subj", `/CN=${name}`, "-days", "2");
  };
  const issue = (name: string, ca: string, ...more: string[]): void => {
    const by = ["-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-days", "2"];
    const files = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
    openssl("req", "-x509", ...key, ...files, "-subj", `/CN=${name}`, ...by, ...more);
  };
  authority("ca");
  authority("other");
  issue("server", "ca", "-addext", "subjectAltName=IP:127.0.0.1");
  return {
    ca: read("ca.pem"),
    cert: read("server.pem"),
    key: read("server.key"),
    clientCa: read("ca.pem"),
    client: (commonName, isTrusted = true) => {
      issue(commonName, isTrusted ? "ca" : "other", "-addext", `subjectAltName=DNS:${commonName}.test`);
      return { cert: read(`${commonName}.pem`), key: read(`${commonName}.key`) };
    },
  };
}
