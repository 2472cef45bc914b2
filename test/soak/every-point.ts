/** SIGKILL at each point that daemon/fault.ts lists, in any order. */
import { FAULT_POINTS } from "../../daemon/fault.ts";
import { type FaultReport, FaultStage } from "../support/faults.ts";
import { Random } from "../support/random.ts";
import { NOTHING } from "../support/stage.ts";
import { report, soakOptions } from "./report.ts";

/** What was not well; `keeper` holds the sockets while no daemon runs. */
export async function survivesAll(keeper: "process" | "fdstore"): Promise<readonly FaultReport[]> {
  const { seed, rounds } = soakOptions({ rounds: 1 });
  const random = new Random(seed);
  const bad: FaultReport[] = [];
  let killed = 0;
  for (let round = 0; round < rounds; round++) {
    await using stage = await FaultStage.open(keeper);
    for (const point of random.shuffle(FAULT_POINTS)) {
      const outcome = await stage.survive(point);
      killed++;
      const isWell = outcome.wrong.length === 0 && outcome.losses.every((losses) => isNothing(losses));
      if (!isWell) bad.push(outcome);
      process.stdout.write(
        `${killed}/${FAULT_POINTS.length * rounds} ${point}${isWell ? "" : ` ${JSON.stringify(outcome)}`}\n`,
      );
      report({ points: FAULT_POINTS.length, killed, bad });
    }
  }
  return bad;
}

function isNothing(losses: object): boolean {
  return JSON.stringify(losses) === JSON.stringify(NOTHING);
}
