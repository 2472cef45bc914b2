import type { Command } from "commander";

import { renderStatus } from "../render.ts";
import type { Run } from "../session.ts";

export function statusCommand(program: Command, run: Run): void {
  program
    .command("status")
    .description("listeners, services, their generations and what a deploy is at")
    .action(
      run(async ({ client, now, look, show }) => {
        show(await client.status(), (status) => renderStatus(status, now(), look()));
        return 0;
      }),
    );
}
