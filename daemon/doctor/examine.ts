/** The doctor's two visits: to a daemon that runs, by itself, and to a host on which none does. */
import type { Diagnosis } from "../../admin-api/schemas.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { Config } from "../config/config.ts";
import type { Service } from "../service/service.ts";
import { diagnose } from "./doctor.ts";
import { gather } from "./gather.ts";

/** What the daemon has, as it is just now. */
interface Patient {
  readonly config: Config;
  readonly services: readonly Service[];
  readonly listeners: readonly Listener[];
}

export async function examineDaemon({ config, services, listeners }: Patient): Promise<Diagnosis> {
  const facts = await gather({
    config,
    configProblem: null,
    applications: services.map(({ name, generations }) => ({
      service: name,
      pids: generations.flatMap(({ instances }) =>
        instances.flatMap(({ pid }) => (pid === null ? [] : [pid])),
      ),
    })),
    given: new Set(listeners.flatMap(({ slots }) => slots.map(({ inode }) => inode))),
  });
  return diagnose(facts, "daemon");
}

/** `load`: reads the configuration, or throws what is wrong with it. Nothing that runs is looked at. */
export async function examineHost(load: () => Config): Promise<Diagnosis> {
  let config: Config | null = null;
  let configProblem: string | null = null;
  try {
    config = load();
  } catch (error) {
    configProblem = messageOf(error);
  }
  return diagnose(await gather({ config, configProblem, applications: [], given: new Set() }), "host");
}
