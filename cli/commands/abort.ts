import type { Command } from "commander";

import { settle } from "../follow.ts";
import { renderDeployLine } from "../render-deploy.ts";
import type { Run } from "../session.ts";
import { deployIdOf } from "../target.ts";

export function abortCommand(program: Command, run: Run): void {
  program
    .command("abort")
    .description("stop the deploy; traffic goes back to where it was")
    .argument("<deploy>", "a deploy's id, or a service: its running deploy")
    .option("--wait", "wait for the end of the deploy")
    .action(
      run(async (session, target: string, { wait = false }: { readonly wait?: boolean }) => {
        const deploy = await session.client.abort(await deployIdOf(session.client, target));
        if (wait) return settle(session, deploy, ["aborted", "rolled-back"]);
        session.show(deploy, () => renderDeployLine(deploy, session.now()));
        return 0;
      }),
    );
}
