import { type Command, InvalidArgumentError } from "commander";

import { renderEnded } from "../render.ts";
import type { Run } from "../session.ts";

export function endCommand(program: Command, run: Run): void {
  program
    .command("end")
    .description("end a draining generation now; what it still serves is cut and counted")
    .argument("<service>")
    .argument("<generation>", "its number, as status shows it", numberOf)
    .action(
      run(async ({ client, show }, service: string, number: number) => {
        show(await client.endGeneration(service, number), (generation) => renderEnded(service, generation));
        return 0;
      }),
    );
}

function numberOf(text: string): number {
  if (/^[1-9][0-9]{0,8}$/u.test(text)) return Number(text);
  throw new InvalidArgumentError("It is a generation's number, as 3.");
}
