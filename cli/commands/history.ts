import type { Command } from "commander";

import { renderHistory } from "../render-history.ts";
import type { Run } from "../session.ts";

export function historyCommand(program: Command, run: Run): void {
  program
    .command("history")
    .description("the deploys so far, the newest first: who, what, how long, why, and whose connections")
    .argument("[service]")
    .option("--limit <number>", "how many", Number, 20)
    .option("--before <deploy>", "those before this one: the `next` of the page before, or a deploy's id")
    .action(
      run(async ({ client, now, look, show }, service: string | undefined, { limit, before }: Options) => {
        const page = await client.listDeploys({
          limit,
          ...(service !== undefined && { service }),
          ...(before !== undefined && { before }),
        });
        show(page, ({ deploys }) => renderHistory(deploys, now(), look()));
        return 0;
      }),
    );
}

interface Options {
  readonly limit: number;
  readonly before?: string;
}
