import type { Command } from "commander";

import { settle } from "../follow.ts";
import type { Run } from "../session.ts";
import { latestDeployOf } from "../target.ts";

export function waitCommand(program: Command, run: Run): void {
  program
    .command("wait")
    .description("wait for a deploy, as `deploy` does: 0 when it succeeds, 1 when it ends in another way")
    .argument("<deploy>", "a deploy's id, or a service: its latest deploy")
    .action(
      run(async (session, target: string) => {
        return settle(session, await latestDeployOf(session.client, target), ["succeeded"]);
      }),
    );
}
