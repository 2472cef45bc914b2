/** Whether there is room for what the configuration asks for. Pure. */
import type { Finding } from "../../admin-api/schemas.ts";
import type { Config } from "../config/config.ts";
import type { Facts } from "./facts.ts";
import { ok, warning } from "./finding.ts";

/** Node, the log, the API's connections (admin-api's own limit) and what a deploy opens for a moment. */
const DESCRIPTORS_ANYWAY = 512;
const DESCRIPTORS_OF_AN_INSTANCE = 4;
/** Threads of the daemon itself, its keeper, verification commands. */
const TASKS_ANYWAY = 64;
/** A Node process has a dozen threads; other run times have more. */
const TASKS_OF_AN_INSTANCE = 16;
/** The current generation, a candidate, and one that drains. */
const GENERATIONS = 3;

/** What the store has to hold: a socket for each slot, two for each instance, three for the API. */
export function storeNeed(config: Config): number {
  return slotsOf(config) + 2 * instancesOf(config) + 3;
}

export function judgeLimits({ limits, self, config }: Facts): readonly Finding[] {
  const instances = config === null ? 1 : instancesOf(config);
  const descriptors =
    DESCRIPTORS_ANYWAY + DESCRIPTORS_OF_AN_INSTANCE * instances + (config === null ? 0 : slotsOf(config));
  const tasks = TASKS_ANYWAY + TASKS_OF_AN_INSTANCE * instances;
  return [
    limits.openFiles >= descriptors
      ? ok(
          "limits.open-files",
          `${amount(limits.openFiles)} descriptors may be open, and ${descriptors} may be needed`,
        )
      : warning(
          "limits.open-files",
          `only ${limits.openFiles} descriptors may be open, and ${descriptors} may be needed: a handoff could fail under load`,
          "LimitNOFILE=524288 in the unit (a service has `limits: { nofile: … }` of its own)",
        ),
    processes(limits, self.uid, tasks),
  ];
}

function processes({ processes: nproc, tasks }: Facts["limits"], uid: number, need: number): Finding {
  // Root is not held to RLIMIT_NPROC (setrlimit(2)); services with `user:` have that user's count.
  if (uid !== 0 && nproc < need) {
    return warning(
      "limits.processes",
      `the user may have ${nproc} processes and threads, and ${need} may be needed: a start could fail in a deploy`,
      "LimitNPROC=infinity in the unit, or a larger nproc in limits.conf(5)",
    );
  }
  if (tasks !== null && tasks.max - tasks.current < need) {
    return warning(
      "limits.processes",
      `${tasks.current} of ${tasks.max} tasks of the control group are in use, and ${need} more may be needed: a start could fail in a deploy`,
      "TasksMax=infinity in the unit",
    );
  }
  const most = Math.min(uid === 0 ? Infinity : nproc, tasks?.max ?? Infinity);
  return ok("limits.processes", `${amount(most)} processes and threads may run, and ${need} may be needed`);
}

function instancesOf({ services }: Config): number {
  return GENERATIONS * services.reduce((total, { instances }) => total + instances, 0);
}

function slotsOf({ listeners }: Config): number {
  return GENERATIONS * listeners.length;
}

function amount(limit: number): string {
  return limit === Infinity ? "any number of" : String(limit);
}
