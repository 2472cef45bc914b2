import { type Command, Option } from "commander";

import type { CanaryStep } from "../../admin-api/request-schemas.ts";
import type { StrategyName } from "../../admin-api/schemas.ts";
import { begun, settle } from "../follow.ts";
import { renderDeployTitle } from "../render-deploy.ts";
import type { Run } from "../session.ts";

interface Options {
  readonly strategy?: StrategyName;
  readonly step?: readonly CanaryStep[];
  readonly bake?: string;
  readonly detach?: boolean;
}

export function deployCommand(program: Command, run: Run): void {
  program
    .command("deploy")
    .description("start a new generation, prove it, move traffic over, and wait for the end")
    .argument("<service>")
    .argument("[version]", "the release; without it the one that runs now")
    .addOption(
      new Option("--strategy <name>", "instead of the configured one").choices([
        "blue-green",
        "canary",
        "rolling",
        "recreate",
      ]),
    )
    .addOption(
      new Option(
        "--step <weight[,for][,pause]>",
        "of a canary, as 5%,1m or 50%,pause; once for each step",
      ).argParser(step),
    )
    .option("--bake <duration>", "how long the previous generation stays warm, as 30s")
    .option("--wait", "wait for the end (this is the default)")
    .addOption(new Option("--detach", "return as soon as the deploy is accepted").conflicts("wait"))
    .action(
      run(async (session, service: string, version: string | undefined, options: Options) => {
        const { strategy, step: steps, bake, detach = false } = options;
        const request = session.client.deploy(service, {
          ...(version !== undefined && { version }),
          ...(strategy !== undefined && { strategy }),
          ...(steps !== undefined && { steps: [...steps] }),
          ...(bake !== undefined && { bake }),
        });
        const deploy = await begun(session, service, request);
        if (!detach) return settle(session, deploy, ["succeeded"]);
        session.show(deploy, renderDeployTitle);
        return 0;
      }),
    );
}

/** Reads `5%,1m` or `50%,pause`; what stands there is the daemon's to judge. */
function step(text: string, before: readonly CanaryStep[] = []): readonly CanaryStep[] {
  const [weight = "", ...rest] = text.split(",").map((part) => part.trim());
  const pause = rest.includes("pause");
  const duration = rest.find((part) => part !== "pause");
  return [...before, { weight, ...(duration !== undefined && { for: duration }), ...(pause && { pause }) }];
}
