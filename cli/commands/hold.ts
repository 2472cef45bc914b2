import type { Command } from "commander";

import { renderHeld } from "../render.ts";
import type { Run } from "../session.ts";

export function holdCommand(program: Command, run: Run): void {
  program
    .command("hold")
    .description("let new connections wait; the generation that serves finishes its work and ends")
    .argument("<service>")
    .option("--idle", "the generation goes on running, without new connections")
    .action(
      run(async ({ client, now, show }, service: string, { idle = false }: { readonly idle?: boolean }) => {
        show(await client.hold(service, { idle }), (held) => renderHeld(held, now()));
        return 0;
      }),
    );
}
