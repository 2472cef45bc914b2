import { Argument, type Command } from "commander";

import { describeProgram } from "../command-tree.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

/** Of both programs. It asks no daemon; what it prints does. */
export function completionCommand(program: Command): void {
  program
    .command("completion")
    .description(
      "print a completion for a shell, which knows the verbs, their options and the names that there are",
    )
    .addArgument(new Argument("<shell>", "whose").choices(SHELLS))
    .action(async (shell: Shell) => {
      const tree = describeProgram(program);
      const { completionFor } = await import("../completions/shells.ts");
      process.stdout.write(completionFor[shell](tree));
    });
}
