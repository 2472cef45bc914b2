/** What is read when it is asked for: listeners, generations, deploys under way. */
import { Gauge, type Registry } from "prom-client";
import type { Listener, Service, Slot, Status } from "../../admin-api/schemas.ts";

const STATES = ["starting", "running", "held", "degraded", "stopped"] as const;

/** What a scrape shows. */
export interface Scene {
  readonly status: Status;
  /** When the oldest drain under way began, by service; milliseconds since the epoch. */
  readonly drainingSince: ReadonlyMap<string, number>;
}

/** `services`: with the generations that the status is about. */
export function sceneOf(status: Status, services: readonly Draining[]): Scene {
  const drainingSince = new Map<string, number>();
  for (const { name, generations } of services) {
    const since = generations.filter(({ state }) => state === "draining").map((each) => each.since);
    if (since.length > 0) drainingSince.set(name, Math.min(...since));
  }
  return { status, drainingSince };
}

interface Draining {
  readonly name: string;
  /** `since`: when the state began, in milliseconds since the epoch. */
  readonly generations: readonly { readonly state: string; readonly since: number }[];
}

/** Registers the gauges. The function that is returned sets them all. */
export function createGauges(registry: Registry, version: string): (scene: Scene) => void {
  const all: Gauge[] = [];
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> => {
    const made = new Gauge({ name: `handoffd_${name}`, help, labelNames, registers: [registry] });
    all.push(made);
    return made;
  };

  const build = gauge("build_info", "Always 1; the version of handoffd is in the label.", "version");
  const startedAt = gauge(
    "start_timestamp_seconds",
    "When the daemon was started, in seconds since the epoch. An upgrade does not change it: a change that nobody asked for is a crash.",
  );
  const queueLength = gauge(
    "listener_queue_length",
    "Connections that wait in a slot's accept queue. Above 0 for long, the application accepts too slowly, or nobody serves.",
    "listener",
    "slot",
  );
  const queueLimit = gauge(
    "listener_queue_limit",
    "How many connections may wait in a slot's accept queue, as the kernel has it. Beyond it the kernel drops handshakes: raise backlog, or add instances.",
    "listener",
    "slot",
  );
  const slots = gauge(
    "listener_slots",
    "Slots of a listener by what they are: used (a generation has it), held (a process that outlived its generation holds it) or idle. Held ones are lost to deploys until that process ends; handoffctl listeners names it.",
    "listener",
    "state",
  );
  const weight = gauge(
    "listener_weight_ratio",
    "Share of a listener's new connections by the role of the generation that gets them, 0..1. All to none of them: they wait for a generation.",
    "listener",
    "service",
    "role",
  );
  const states = gauge(
    "service_state",
    "1 for the state that the service is in, 0 for the others. degraded: fewer instances are ready than configured; stopped: no generation serves and new connections wait.",
    "service",
    "state",
  );
  const instances = gauge(
    "service_instances",
    "Instances by the role of their generation and by state.",
    "service",
    "role",
    "state",
  );
  const connections = gauge(
    "service_connections",
    "Open connections by the role of the generation that serves them. No series where connections are not marked.",
    "service",
    "role",
  );
  const queued = gauge(
    "service_queue_length",
    "Connections that wait in the accept queues of a service's listeners, by the role of the generation that they wait for. A candidate's should be near 0 before it gets more weight.",
    "service",
    "role",
  );
  const generation = gauge(
    "service_generation",
    "Number of the generation in a role. The current one's changes when users have moved: a deploy, or a way back.",
    "service",
    "role",
  );
  const inProgress = gauge(
    "deploy_in_progress",
    "1 while a deploy of the service is under way and another one would be refused, else 0.",
    "service",
  );
  const paused = gauge(
    "deploy_paused",
    "1 while the deploy under way is held by someone's pause, else 0. handoffctl continue or abort ends it.",
    "service",
  );
  const phase = gauge(
    "deploy_phase_start_timestamp_seconds",
    "When the phase began in which the deploy under way is, in seconds since the epoch. No series without a deploy.",
    "service",
    "phase",
  );
  const draining = gauge(
    "drain_start_timestamp_seconds",
    "When the oldest drain under way began, in seconds since the epoch. No series when nothing drains. What it waits for: handoffctl status.",
    "service",
  );

  const readListener = (listener: Listener, roles: ReadonlyMap<string, Role>): void => {
    const kinds = { used: 0, held: 0, idle: 0 };
    for (const slot of listener.slots) {
      const labels = { listener: listener.name, slot: String(slot.index) };
      queueLength.set(labels, slot.queue.length);
      queueLimit.set(labels, slot.queue.limit);
      kinds[kindOf(slot)]++;
      const owner = slot.generation === null ? undefined : roles.get(slot.generation);
      if (owner === undefined) continue;
      weight.inc({ listener: listener.name, ...owner }, slot.weight);
      queued.inc({ ...owner }, slot.queue.length);
    }
    for (const [state, count] of Object.entries(kinds)) slots.set({ listener: listener.name, state }, count);
  };

  const readService = (service: Service, roles: Map<string, Role>): void => {
    const { name, deploy } = service;
    for (const state of STATES) states.set({ service: name, state }, service.state === state ? 1 : 0);
    inProgress.set({ service: name }, deploy === null ? 0 : 1);
    paused.set({ service: name }, deploy?.paused === true ? 1 : 0);
    const since = deploy?.phases.at(-1)?.startedAt;
    if (deploy !== null && since !== undefined)
      phase.set({ service: name, phase: deploy.phase }, Date.parse(since) / 1000);
    for (const each of service.generations) {
      const role = roleOf(service, each.number);
      roles.set(`${name}/${each.number}`, { service: name, role });
      if (role !== "draining") generation.set({ service: name, role }, each.number);
      if (each.connections !== null) connections.inc({ service: name, role }, each.connections);
      for (const { state } of each.instances) instances.inc({ service: name, role, state });
    }
  };

  return ({ status, drainingSince }) => {
    for (const each of all) each.reset();
    build.set({ version }, 1);
    startedAt.set(Date.parse(status.startedAt) / 1000);
    const roles = new Map<string, Role>();
    for (const service of status.services) readService(service, roles);
    for (const listener of status.listeners) readListener(listener, roles);
    for (const [service, since] of drainingSince) draining.set({ service }, since / 1000);
  };
}

interface Role {
  readonly service: string;
  readonly role: "current" | "candidate" | "previous" | "draining";
}

function kindOf({ generation, held }: Slot): "used" | "held" | "idle" {
  if (generation !== null) return "used";
  return held === undefined ? "idle" : "held";
}

type Roles = Pick<Service, "current" | "candidate" | "previous">;

/** The role of one of the service's generations. */
function roleOf(service: Roles, number: number): Role["role"] {
  if (number === service.current) return "current";
  if (number === service.candidate) return "candidate";
  if (number === service.previous) return "previous";
  return "draining";
}
