import type { Command } from "commander";

import { settle } from "../follow.ts";
import { renderDeployLine } from "../render-deploy.ts";
import type { Run } from "../session.ts";
import { deployIdOf } from "../target.ts";

export function continueCommand(program: Command, run: Run): void {
  program
    .command("continue")
    .description("go on to the next step of a paused deploy")
    .argument("<deploy>", "a deploy's id, or a service: its running deploy")
    .option("--wait", "wait for the end of the deploy")
    .action(
      run(async (session, target: string, { wait = false }: { readonly wait?: boolean }) => {
        const deploy = await session.client.continueDeploy(await deployIdOf(session.client, target));
        if (wait) return settle(session, deploy, ["succeeded"]);
        session.show(deploy, () => renderDeployLine(deploy, session.now()));
        return 0;
      }),
    );
}
