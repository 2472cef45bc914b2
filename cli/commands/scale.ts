import { type Command, InvalidArgumentError } from "commander";

import { renderScaled } from "../render.ts";
import type { Run } from "../session.ts";

export function scaleCommand(program: Command, run: Run): void {
  program
    .command("scale")
    .description("run so many instances of the service from now on")
    .argument("<service>")
    .argument("<instances>", "how many", wholeNumber)
    .action(
      run(async ({ client, show }, service: string, instances: number) => {
        show(await client.scale(service, instances), (scaled) => renderScaled(scaled, instances));
        return 0;
      }),
    );
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Give a whole number.");
  return Number(text);
}
