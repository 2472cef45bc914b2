import type { Command } from "commander";

import type { Diagnosis } from "../../admin-api/schemas.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { hostDoctor } from "../host-doctor.ts";
import { renderDiagnosis } from "../render-doctor.ts";
import type { Run, Session } from "../session.ts";

interface Options {
  readonly all?: boolean;
  readonly config?: string;
}

export function doctorCommand(program: Command, run: Run): void {
  program
    .command("doctor")
    .description("what is wrong with the host, the unit or the applications, and how to mend it")
    .option("--all", "show what is as it should be, too")
    .option("-c, --config <file>", "where no daemon answers: the configuration to look at")
    .action(
      run(async (session, { all = false, config }: Options) => {
        const diagnosis = await look(session, config);
        session.show(diagnosis, () => renderDiagnosis(diagnosis, all, session.look()));
        return diagnosis.healthy ? 0 : 1;
      }),
    );
}

/** The daemon sees what is in force for it. Another host's cannot be looked at from here. */
async function look({ client, isLocal, warn }: Session, config: string | undefined): Promise<Diagnosis> {
  try {
    return await client.doctor();
  } catch (error) {
    if (!isLocal || !hasCode(error, "DAEMON_NOT_REACHABLE")) throw error;
    warn(error.message);
    return hostDoctor(config);
  }
}
