/**
 * Who may use the API, from the configuration and the files that it names. Read at the start and at each reload, in
 * two steps: first all is read and checked, then all of it holds from the next request on. A bad file changes nothing.
 */
import { readFileSync, statSync } from "node:fs";
import { Access, type AccessPolicy } from "../../admin-api/access.ts";
import type { Door, DoorTls } from "../../admin-api/door.ts";
import { parseTokens, type TokenEntry } from "../../admin-api/tokens.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import { late } from "../../handoff/late.ts";
import type { AdminConfig, AdminHttpConfig } from "../config/config.ts";
import { tlsUnusable, tokensUnreadable } from "../errors.ts";

/** Write and execute for the group, anything for others. */
const TOO_OPEN = 0o037;

interface Read {
  readonly policy: AccessPolicy;
  readonly tls: DoorTls | null;
}

export class AdminAccess {
  readonly access: Access;
  #tls: DoorTls | null;
  #door: Door | null = null;

  /** Throws TOKENS_UNREADABLE, TOKENS_INVALID or TLS_UNUSABLE. */
  constructor(config: AdminConfig) {
    const { policy, tls } = read(config);
    this.access = new Access(policy);
    this.#tls = tls;
  }

  /** For the door by TCP; null: it speaks plain HTTP. */
  get tls(): DoorTls | null {
    return this.#tls;
  }

  /** The door gets a new certificate when the files have another one. */
  attach(door: Door): void {
    this.#door = door;
  }

  /** Reads everything again; what it returns makes it hold. Throws as the constructor does, and changes nothing. */
  prepare(config: AdminConfig): () => void {
    const { policy, tls } = read(config);
    return () => {
      this.access.replace(policy);
      if (tls !== null && this.#tls !== null) this.#door?.renew(tls);
      this.#tls = tls;
    };
  }
}

function read({ socket, http }: AdminConfig): Read {
  const tokens = http?.tokens == null ? null : readTokens(http.tokens);
  const tls = http?.tls == null ? null : readTls(http.tls);
  return { policy: { grants: socket.roles, tokens, certificates: tls?.clientCa != null }, tls };
}

function readTokens(file: string): readonly TokenEntry[] {
  return parseTokens(
    readPrivate(file, (why, cause) => tokensUnreadable(file, why, cause)),
    file,
  );
}

function readTls({ cert, key, clientCa }: NonNullable<AdminHttpConfig["tls"]>): DoorTls {
  const wrong = (file: string) => (why: string, cause: unknown) => tlsUnusable(file, why, cause);
  const tls: DoorTls = {
    cert: readText(cert, wrong(cert)),
    key: readPrivate(key, wrong(key)),
    clientCa: clientCa === null ? null : readText(clientCa, wrong(clientCa)),
  };
  try {
    late.tls.createSecureContext({
      cert: tls.cert,
      key: tls.key,
      ...(tls.clientCa !== null && { ca: tls.clientCa }),
    });
  } catch (error) {
    throw tlsUnusable(`${cert} with ${key}`, messageOf(error), error);
  }
  return tls;
}

type Wrong = (why: string, cause: unknown) => Error;

function readText(file: string, wrong: Wrong): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw wrong(messageOf(error), error);
  }
}

/** A file with secrets, or with what decides who may do what: nobody but root and the daemon's user may change it. */
function readPrivate(file: string, wrong: Wrong): string {
  const text = readText(file, wrong);
  const { mode, uid } = statSync(file);
  if ((mode & TOO_OPEN) !== 0) {
    throw wrong(
      `its mode is ${(mode & 0o777).toString(8).padStart(4, "0")}; make it 0600, or 0640`,
      undefined,
    );
  }
  if (uid !== 0 && uid !== process.getuid?.()) {
    throw wrong(`it belongs to uid ${uid}; make it root's or the daemon's own`, undefined);
  }
  return text;
}
