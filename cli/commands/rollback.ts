import { type Command, Option } from "commander";

import type { Deploy, Phase } from "../../admin-api/schemas.ts";
import { begun, settle } from "../follow.ts";
import { renderDeployTitle } from "../render-deploy.ts";
import type { Run } from "../session.ts";

export function rollbackCommand(program: Command, run: Run): void {
  program
    .command("rollback")
    .description("give traffic back to the previous generation, or deploy its release again")
    .argument("<service>")
    .option("--wait", "wait for the end (this is the default)")
    .addOption(new Option("--detach", "return as soon as it is accepted").conflicts("wait"))
    .action(
      run(async (session, service: string, { detach = false }: { readonly detach?: boolean }) => {
        const deploy = await begun(session, service, session.client.rollback(service));
        if (!detach) return settle(session, deploy, wayBack(deploy));
        session.show(deploy, renderDeployTitle);
        return 0;
      }),
    );
}

/** Either the deploy that is baking goes back, or a new one of the previous release has begun. */
function wayBack({ phase }: Deploy): readonly Phase[] {
  return phase === "starting" ? ["succeeded"] : ["rolled-back", "aborted"];
}
