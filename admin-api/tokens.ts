/**
 * The file of those who may use the API by TCP: a line each, `#` begins a comment.
 *
 *   # NAME   ROLE    CREDENTIAL                       services=… limits what it may change; expires=… is UTC
 *   ci       deploy  sha256:5e88…d1                   services=api,web expires=2027-01-31T00:00:00Z
 *   grafana  read    sha256:0b14…7f
 *   robot    deploy  cert:cn=robot.example.org        or cert:dns=NAME, or cert:sha256=FINGERPRINT
 *
 * A token has 256 random bits (`mintToken`), so one round of SHA-256 is as good as any slow hash: there is nothing to
 * guess. A line can stand twice under one name with different credentials: that is how a token is replaced by the
 * next without a gap.
 */
import type { X509Certificate } from "node:crypto";

import { late } from "../handoff/late.ts";
import { tokensInvalid } from "./errors.ts";
import { type Role, isRole } from "./roles.ts";

export interface TokenEntry {
  readonly name: string;
  readonly role: Role;
  readonly credential:
    | { readonly kind: "token"; readonly digest: Buffer }
    | { readonly kind: "cn" | "dns" | "fingerprint"; readonly value: string };
  /** The only services that it may change; null: all of them. */
  readonly services: readonly string[] | null;
  /** Milliseconds since the epoch; null: it does not expire. */
  readonly expiresAt: number | null;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/u;
const SERVICE = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/u;
const FIELDS = "NAME ROLE CREDENTIAL [services=A,B] [expires=TIME]";

/** Throws TOKENS_INVALID with the line's number, and never with what stands there: it may be a secret. */
export function parseTokens(text: string, file: string): readonly TokenEntry[] {
  return text.split("\n").flatMap((line, index) => {
    const fields = line.replace(/#.*$/u, "").trim().split(/\s+/u);
    if (fields[0] === "") return [];
    return [entryOf(fields, (why) => tokensInvalid(file, index + 1, why))];
  });
}

function entryOf(fields: readonly string[], wrong: (why: string) => Error): TokenEntry {
  const [name, role, credential, ...options] = fields;
  if (name === undefined || role === undefined || credential === undefined) {
    throw wrong(`it has ${fields.length} of the three fields that it needs: ${FIELDS}`);
  }
  if (!NAME.test(name)) {
    throw wrong(
      'the name must be at most 64 letters, digits, ".", "_", "@" and "-", the first a letter or digit',
    );
  }
  if (!isRole(role)) throw wrong("the second field must be read, deploy or admin");
  let services: readonly string[] | null = null;
  let expiresAt: number | null = null;
  for (const option of options) {
    const [key, value = ""] = option.split(/=(.*)/su);
    if (key === "services") services = servicesOf(value, wrong);
    else if (key === "expires") expiresAt = instantOf(value, wrong);
    else throw wrong(`after the credential only services= and expires= may stand: ${FIELDS}`);
  }
  return { name, role, credential: credentialOf(credential, wrong), services, expiresAt };
}

function credentialOf(text: string, wrong: (why: string) => Error): TokenEntry["credential"] {
  const token = /^sha256:([0-9a-f]{64})$/iu.exec(text)?.[1];
  if (token !== undefined) return { kind: "token", digest: Buffer.from(token, "hex") };
  const [, key, value = ""] = /^cert:(cn|dns|sha256)=(.+)$/u.exec(text) ?? [];
  if (key === "cn" || key === "dns") return { kind: key, value };
  const fingerprint = value.replaceAll(":", "").toLowerCase();
  if (key === "sha256" && /^[0-9a-f]{64}$/u.test(fingerprint))
    return { kind: "fingerprint", value: fingerprint };
  throw wrong(
    "the credential must be sha256: and 64 hexadecimal digits, or cert:cn=, cert:dns= or cert:sha256= and a value; `handoffd token new` writes such a line",
  );
}

function servicesOf(text: string, wrong: (why: string) => Error): readonly string[] {
  const names = text.split(",");
  if (names.every((name) => SERVICE.test(name))) return names;
  throw wrong("services= takes names of services with commas between them, and no spaces");
}

function instantOf(text: string, wrong: (why: string) => Error): number {
  const at = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/u.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw wrong("expires= takes a date, as 2027-01-31 or 2027-01-31T12:00:00Z (UTC)");
  return at;
}

/** How digests are compared: in a time that tells nothing of them (node:crypto). An object, so that a test can look on. */
export const comparison = {
  isEqual: (one: Uint8Array, other: Uint8Array): boolean => late.crypto.timingSafeEqual(one, other),
};

/**
 * The entry of a token; null when there is none. Every entry is compared, each in constant time, so that neither which
 * one it was nor how much of it was right can be measured.
 */
export function findToken(entries: readonly TokenEntry[], token: string): TokenEntry | null {
  const given = digestOf(token);
  let found: TokenEntry | null = null;
  for (const entry of entries) {
    if (entry.credential.kind === "token" && comparison.isEqual(entry.credential.digest, given))
      found = entry;
  }
  return found;
}

/** The entry of a certificate that the TLS library has verified; `commonName` is its subject's only CN. */
export function findCertificate(
  entries: readonly TokenEntry[],
  certificate: X509Certificate,
  commonName: string | null,
): TokenEntry | null {
  const fingerprint = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
  const fits = ({ kind, ...rest }: TokenEntry["credential"]): boolean => {
    const value = "value" in rest ? rest.value : "";
    switch (kind) {
      case "token":
        return false;
      case "cn":
        return commonName === value;
      case "dns":
        return certificate.checkHost(value, { subject: "never", wildcards: false }) !== undefined;
      case "fingerprint":
        return fingerprint === value;
    }
  };
  return entries.find(({ credential }) => fits(credential)) ?? null;
}

function digestOf(token: string): Buffer {
  return late.crypto.createHash("sha256").update(token).digest();
}

export interface MintRequest {
  readonly name: string;
  readonly role: string;
  readonly services?: readonly string[];
  readonly expires?: string;
}

export interface MintedToken {
  /** What the caller sends. It is nowhere else. */
  readonly token: string;
  /** What the file gets. */
  readonly line: string;
}

/** Makes a token and its line. Throws TOKENS_INVALID for a request that no file could contain. */
export function mintToken({ name, role, services = [], expires }: MintRequest): MintedToken {
  const token = `hd_${late.crypto.randomBytes(32).toString("base64url")}`;
  const line = [
    name,
    role,
    `sha256:${digestOf(token).toString("hex")}`,
    ...(services.length === 0 ? [] : [`services=${services.join(",")}`]),
    ...(expires === undefined ? [] : [`expires=${expires}`]),
  ].join(" ");
  if (parseTokens(line, "what you asked for").length !== 1 || /[\n#]/u.test(line)) {
    throw tokensInvalid("what you asked for", 1, "it would not be one line");
  }
  return { token, line };
}
