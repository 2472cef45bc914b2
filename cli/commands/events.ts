import type { Command } from "commander";

import { renderEvent } from "../render.ts";
import { resumed } from "../resume.ts";
import type { Run } from "../session.ts";

export function eventsCommand(program: Command, run: Run): void {
  program
    .command("events")
    .description("what has happened lately; with --json one document a line")
    .option("-f, --follow", "and go on with what happens, until interrupted")
    .action(
      run(async (session, { follow = false }: { readonly follow?: boolean }) => {
        const { client, look, tell, warn } = session;
        const messages = follow
          ? resumed(session, (since) => client.events({ since }))
          : client.events({ since: 0, follow });
        for await (const message of messages) {
          if (message.kind === "event") tell(message.event, (event) => renderEvent(event, look()));
          else if (message.kind === "gap") warn("some events of the meantime are not kept");
        }
        return 0;
      }),
    );
}
