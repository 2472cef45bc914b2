import type { Command } from "commander";

import { renderDeployLine } from "../render-deploy.ts";
import type { Run } from "../session.ts";
import { deployIdOf } from "../target.ts";

export function pauseCommand(program: Command, run: Run): void {
  program
    .command("pause")
    .description("hold the deploy at the step that it has reached")
    .argument("<deploy>", "a deploy's id, or a service: its running deploy")
    .action(
      run(async (session, target: string) => {
        const deploy = await session.client.pause(await deployIdOf(session.client, target));
        session.show(deploy, () => renderDeployLine(deploy, session.now()));
        return 0;
      }),
    );
}
