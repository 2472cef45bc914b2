import type { Command } from "commander";

import { renderReload } from "../render-reload.ts";
import type { Run } from "../session.ts";

export function reloadCommand(program: Command, run: Run): void {
  program
    .command("reload")
    .description("have the configuration read again; what is wrong with it changes nothing")
    .action(
      run(async ({ client, show }) => {
        show(await client.reload(), renderReload);
        return 0;
      }),
    );
}
