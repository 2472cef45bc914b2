import { Argument, type Command } from "commander";

import type { Run } from "../session.ts";

const KINDS = ["services", "deploys"] as const;
type Kind = (typeof KINDS)[number];

/** For completions: the names that may stand in an argument, one a line. Who completes wants no words about trouble. */
export function namesCommand(program: Command, run: Run): void {
  program
    .command("_names", { hidden: true })
    .addArgument(new Argument("<kind>").choices(KINDS))
    .action(
      run(async ({ client, show }, kind: Kind) => {
        const services = await client.services();
        const running = services.flatMap(({ deploy }) => (deploy === null ? [] : [deploy.id]));
        const names = [...services.map(({ name }) => name), ...(kind === "deploys" ? running : [])];
        show(names, () => names.join("\n"));
        return 0;
      }),
    );
}
