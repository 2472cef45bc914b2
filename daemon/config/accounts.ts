/** Users and groups of the configuration, against the host's user database. */
import type { UserEntry } from "../../handoff/native.ts";
import type { Path, Report } from "./problem.ts";
import type { PrincipalFile } from "./schema.ts";
import type { Draft } from "./validate.ts";

/** The part of the addon that is needed here; NSS included. */
export interface Accounts {
  lookupUser(nameOrUid: string | number): UserEntry | null;
  lookupGroup(name: string): number | null;
}

/** Who the daemon is. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export class AccountCheck {
  readonly #accounts: Accounts;
  readonly #self: Identity;
  readonly #report: Report;

  constructor(accounts: Accounts, self: Identity, report: Report) {
    this.#accounts = accounts;
    this.#self = self;
    this.#report = report;
  }

  /** The user must exist, and be one that the daemon can become. */
  runnable(path: Path, user: string | number | undefined): void {
    const entry = this.user(path, user);
    if (entry === null || this.#self.uid === 0 || entry.uid === this.#self.uid) return;
    this.#report.wrong(
      path,
      `"${entry.name}" is another user than the daemon's own (uid ${this.#self.uid}), and only root can become someone else; run the daemon as root, or remove the key`,
    );
  }

  /** The group must exist, and be one that the daemon can take. */
  joinable(path: Path, group: string | undefined): void {
    const gid = this.group(path, group);
    if (gid === null || this.#self.uid === 0 || gid === this.#self.gid) return;
    this.#report.wrong(
      path,
      `"${group ?? ""}" is another group than the daemon's own (gid ${this.#self.gid}), and only root can change groups; run the daemon as root, or remove the key`,
    );
  }

  user(path: Path, user: string | number | undefined): UserEntry | null {
    if (user === undefined) return null;
    const entry = this.#accounts.lookupUser(user);
    if (entry === null) this.#report.wrong(path, unknown("user", String(user), `getent passwd ${user}`));
    return entry;
  }

  group(path: Path, group: string | undefined): number | null {
    if (group === undefined) return null;
    const gid = this.#accounts.lookupGroup(group);
    if (gid === null) this.#report.wrong(path, unknown("group", group, `getent group ${group}`));
    return gid;
  }

  principal(path: Path, principal: Draft<PrincipalFile> | undefined): void {
    this.user([...path, "user"], principal?.user);
    this.group([...path, "group"], principal?.group);
  }
}

function unknown(what: string, name: string, lookup: string): string {
  return `the ${what} "${name}" does not exist on this host (\`${lookup}\` finds nothing); create it or correct the name`;
}

/** Uids that a principal names, each once. */
export function userIds({ uid, user }: PrincipalFile, accounts: Accounts): number[] {
  const named = user === undefined ? undefined : accounts.lookupUser(user)?.uid;
  return [...new Set([uid, named])].filter((id) => id !== undefined);
}

/** Gids that a principal names, each once. */
export function groupIds({ gid, group }: PrincipalFile, accounts: Accounts): number[] {
  const named = group === undefined ? undefined : accounts.lookupGroup(group);
  return [...new Set([gid, named])].filter((id) => id !== undefined && id !== null);
}
