import type { Command } from "commander";

import type { Event } from "../../admin-api/schemas.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { upgradeOutcomeUnknown } from "../errors.ts";
import { resumed } from "../resume.ts";
import type { Run, Session } from "../session.ts";

/** How an upgrade may end. `daemon.recovered`: the daemon has died on the way, and was started again. */
const ENDS: readonly string[] = ["daemon.upgraded", "daemon.upgrade-failed", "daemon.recovered"];

export function upgradeCommand(program: Command, run: Run): void {
  program
    .command("upgrade")
    .description("replace the daemon by the program as it is installed now, in place, and wait for the end")
    .action(
      run(async (session) => {
        const { from, to, since } = await session.client.upgrade();
        session.say(`handoffd ${to} was tried and can go on from ${from}; it takes over now`);
        const end = await outcome(session, since);
        if (end.type !== "daemon.upgraded") {
          session.warn(end.message);
          return 1;
        }
        session.show(await session.client.status(), ({ version, pid, upgrades }) => {
          return `handoffd ${version} runs, pid ${pid}, ${upgrades} upgrade${upgrades === 1 ? "" : "s"}`;
        });
        return 0;
      }),
    );
}

async function outcome(session: Session, since: number): Promise<Event> {
  // The stream ends with the image that serves it, which is no reason to alarm anybody.
  const quiet: Session = { ...session, warn: () => undefined };
  const open = (seen: number) => session.client.events({ since: Math.max(seen, since) });
  try {
    for await (const message of resumed(quiet, open)) {
      if (message.kind === "event" && ENDS.includes(message.event.type)) return message.event;
    }
  } catch (error) {
    if (hasCode(error, "DAEMON_NOT_REACHABLE")) throw upgradeOutcomeUnknown(error);
    throw error;
  }
  throw upgradeOutcomeUnknown(null);
}
