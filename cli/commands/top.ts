import type { Command } from "commander";

import { FullScreen } from "../full-screen.ts";
import { renderTop, type Seen } from "../render-top.ts";
import type { Run } from "../session.ts";
import { watch } from "../watch.ts";

/** Without a terminal: one picture, as it is now. */
const ROWS_WITHOUT_TERMINAL = 1_000;

export function topCommand(program: Command, run: Run): void {
  program
    .command("top")
    .description(
      "what runs and who gets the connections, as it changes; with --json, or without a terminal, once",
    )
    .action(
      run(async ({ client, draw, ...session }) => {
        if (draw === null) {
          const seen: Seen = { status: await client.status(), events: [], trouble: null };
          // Without the last line, which is about keys.
          const picture = (): string =>
            renderTop(seen, session.now(), ROWS_WITHOUT_TERMINAL, session.look()).slice(0, -2).join("\n");
          session.show(seen.status, picture);
          return 0;
        }
        // The first look comes before the screen is taken: what is wrong then is said as everywhere.
        await client.status();
        const over = new AbortController();
        using screen = new FullScreen({ input: process.stdin, output: process.stdout }, () => over.abort());
        const show = (seen: Seen): void =>
          screen.draw(renderTop(seen, session.now(), screen.rows, session.look()));
        await watch({ client, draw, ...session }, show, over.signal);
        return 0;
      }),
    );
}
