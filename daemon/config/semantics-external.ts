/** What the schema cannot say about instances that someone else starts. */
import type { Identity } from "./accounts.ts";
import { unknownInCommand } from "./placeholders.ts";
import type { Path, Report } from "./problem.ts";
import type { ServiceFile } from "./schema.ts";
import type { Draft } from "./validate.ts";

/** What is theirs to say who start the process. */
const THEIRS = ["group", "groups", "umask", "limits", "nice", "no_new_privileges", "output"] as const;

/** Either the daemon or someone else starts the instances: the one needs a command, the other one needs the keys that are its own. */
export function checkExternal(path: Path, service: Draft<ServiceFile>, self: Identity, report: Report): void {
  if (!("external" in service)) {
    if (!("command" in service))
      report.wrongKey(
        path,
        '"command" is missing; it says which program the service runs; add it, or external: where someone else starts the instances',
      );
    return;
  }
  const { external } = service;
  if (self.uid !== 0 && external?.allow !== undefined && external.allow.uid !== self.uid) {
    report.warn(
      [...path, "external", "allow"],
      "a daemon that is not root cannot look into other users' processes, nor signal them; their deploys would fail; run it as root, or name its own uid",
    );
  }
  for (const key of ["start", "stop"] as const) {
    const command = (external?.[key] ?? []).filter((argument) => argument !== undefined);
    if (command[0] === "") {
      report.wrong(
        [...path, "external", key, 0],
        "the program is empty text; nothing can be run; name a program",
      );
    }
    for (const unknown of unknownInCommand(command)) {
      report.wrong(
        [...path, "external", key],
        `${unknown} is not known; {service}, {generation}, {instance} and {version} are filled in; correct or remove it`,
      );
    }
    if (command.length > 0 && !command.some((argument) => /\{(generation|instance)\}/u.test(argument))) {
      report.warn(
        [...path, "external", key],
        `neither {generation} nor {instance} is in the command, so that two generations are asked for in the same words; during a deploy both run`,
      );
    }
  }
  if ("command" in service) return;
  for (const key of THEIRS) {
    if (!(key in service)) continue;
    report.warn(
      [...path, key],
      `"${key}" has no effect on instances that someone else starts; say it where they are started`,
    );
  }
}
