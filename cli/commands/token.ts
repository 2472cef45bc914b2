import { appendFileSync } from "node:fs";

import type { Command } from "commander";

import { mintToken } from "../../admin-api/tokens.ts";

interface Options {
  readonly role: string;
  readonly service: readonly string[];
  readonly expires?: string;
  readonly file?: string;
  readonly json?: boolean;
}

/** Of `handoffd`, not of `handoffctl`: it asks no daemon, and what it makes is for the daemon's own file. */
export function tokenCommand(program: Command): void {
  program
    .command("token")
    .description("the credentials of the API by TCP")
    .command("new")
    .description("make a token, and the line of admin.http.tokens that lets it in")
    .argument("<name>", "who will have it: it stands in the log and in requestedBy")
    .requiredOption("--role <role>", "read, deploy or admin")
    .option("--service <name>", "may change this one only; can be repeated", collect, [])
    .option("--expires <time>", "as 2027-01-31 or 2027-01-31T12:00:00Z")
    .option("--file <file>", "append the line to this file")
    .option("--json", "answer with one JSON document")
    .action((name: string, { role, service: services, expires, file, json = false }: Options) => {
      const minted = mintToken({ name, role, services, ...(expires !== undefined && { expires }) });
      // The token is shown last: what cannot be written must not leave one that lets nobody in.
      if (file !== undefined) appendFileSync(file, `${minted.line}\n`, { mode: 0o600 });
      const text = `token  ${minted.token}\nline   ${minted.line}`;
      process.stdout.write(`${json ? JSON.stringify(minted) : text}\n`);
    });
}

function collect(name: string, before: readonly string[]): readonly string[] {
  return [...before, name];
}
