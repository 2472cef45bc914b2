import type { Command } from "commander";

import { renderListeners } from "../render.ts";
import type { Run } from "../session.ts";

export function listenersCommand(program: Command, run: Run): void {
  program
    .command("listeners")
    .description("the addresses, their slots, weights and queues")
    .action(
      run(async ({ client, look, show }) => {
        show(await client.listeners(), (listeners) => renderListeners(listeners, look()));
        return 0;
      }),
    );
}
