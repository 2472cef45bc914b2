import { type Command, Option } from "commander";

import { begun, settle } from "../follow.ts";
import { renderDeployTitle } from "../render-deploy.ts";
import type { Run } from "../session.ts";

export function resumeCommand(program: Command, run: Run): void {
  program
    .command("resume")
    .description("end a hold: a new generation of the same release takes the connections that wait")
    .argument("<service>")
    .option("--wait", "wait for the end (this is the default)")
    .addOption(new Option("--detach", "return as soon as it is accepted").conflicts("wait"))
    .action(
      run(async (session, service: string, { detach = false }: { readonly detach?: boolean }) => {
        const deploy = await begun(session, service, session.client.resume(service));
        if (!detach) return settle(session, deploy, ["succeeded"]);
        session.show(deploy, renderDeployTitle);
        return 0;
      }),
    );
}
