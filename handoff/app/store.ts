/** Descriptors that outlive the process: what sd_notify(3) says of FDSTORE=1, FDNAME= and FDSTOREREMOVE=1. */
import type { Program } from "./program.ts";
import { badStoreName } from "../errors.ts";

/** A descriptor's number, or what has one: a FileHandle of node:fs/promises, for example. */
export type Keepable = number | { readonly fd: number };

export async function keep(program: Program, name: string, what: Keepable): Promise<void> {
  assertName(name);
  const fd = typeof what === "number" ? what : what.fd;
  if (!Number.isInteger(fd) || fd < 0) throw new TypeError(`${fd} is no open descriptor`);
  // FDPOLL=0: a socket whose other end has gone is kept as well; whether it is of use is the application's to say.
  await program.notify(`FDSTORE=1\nFDPOLL=0\nFDNAME=${name}`, [fd]);
}

export async function forget(program: Program, name: string): Promise<void> {
  assertName(name);
  await program.notify(`FDSTOREREMOVE=1\nFDNAME=${name}`);
}

function assertName(name: string): void {
  if (!/^[ -9;-~]{1,255}$/u.test(name)) throw badStoreName(name);
}
