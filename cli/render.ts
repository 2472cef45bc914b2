/** Turns what the API answers into text for people: at most 80 columns, no colours, nothing that moves. */
import type {
  Deploy,
  Event,
  Generation,
  Listener,
  PhaseRecord,
  Service,
  Status,
} from "../admin-api/schemas.ts";
import { cut, plain, table } from "./table.ts";

export function renderStatus(status: Status, now: number): string {
  const { version, pid, startedAt, upgrades } = status;
  const upgraded = upgrades === 0 ? "" : `, ${upgrades} upgrade${upgrades === 1 ? "" : "s"}`;
  const head = `handoffd ${plain(version)}, pid ${pid}, up ${age(startedAt, now)}${upgraded}`;
  return [
    head,
    "",
    renderListeners(status.listeners),
    ...status.services.map((one) => renderService(one, now)),
  ].join("\n");
}

export function renderListeners(listeners: readonly Listener[]): string {
  if (listeners.length === 0) return "no listeners";
  const rows = listeners.flatMap(({ name, protocol, address, mode, slots, leaving }) =>
    slots.map((slot, index) => [
      ...(index === 0
        ? [leaving === true ? `${name} (leaving)` : name, `${protocol}:${address}`, mode]
        : ["", "", ""]),
      String(slot.index),
      slot.generation ??
        (slot.held === undefined ? "-" : `held by ${slot.held.map(({ pid }) => pid).join(", ")}`),
      percent(slot.weight),
      `${slot.queue.length}/${slot.queue.limit}`,
    ]),
  );
  const columns = [
    { title: "LISTENER" },
    { title: "ADDRESS" },
    { title: "MODE" },
    { title: "SLOT", align: "right" },
    { title: "GENERATION" },
    { title: "WEIGHT", align: "right" },
    { title: "QUEUE", align: "right" },
  ] as const;
  return table(columns, rows).join("\n");
}

function renderService(service: Service, now: number): string {
  const { name, state, generations, deploy, pending = [], leaving = false } = service;
  const columns = [
    { title: "  GENERATION" },
    { title: "VERSION" },
    { title: "ROLE" },
    { title: "STATE" },
    { title: "WEIGHT", align: "right" },
    { title: "CONNECTIONS", align: "right" },
    { title: "INSTANCES", align: "right" },
    { title: "UP", align: "right" },
  ] as const;
  const rows = generations.map((one) => [
    `  ${one.number}`,
    one.version ?? "-",
    roleOf(service, one),
    one.state,
    percent(one.weight),
    one.connections === null ? "?" : String(one.connections),
    `${one.instances.filter((instance) => ["serving", "standby"].includes(instance.state)).length}/${one.instances.length}`,
    age(one.startedAt, now),
  ]);
  const under = deploy === null ? [] : [cut(`  ${renderDeployLine(deploy, now)}`, 80)];
  const waiting = pending.length === 0 ? [] : [cut(`  with the next deploy: ${pending.join(", ")}`, 80)];
  const title = `\n${plain(name)} is ${leaving ? "being removed" : state}`;
  return [title, ...(rows.length === 0 ? [] : table(columns, rows)), ...under, ...waiting].join("\n");
}

function roleOf({ current, candidate, previous }: Service, { number, state }: Generation): string {
  if (number === current) return "current";
  if (number === candidate) return "candidate";
  if (number === previous) return "previous";
  return state === "draining" ? "draining" : "-";
}

/** `deploy d-7, blue-green, generation 3 -> 4 (version 42): baking for 12 s`. */
export function renderDeployLine(deploy: Deploy, now: number): string {
  const since =
    deploy.finishedAt === null ? ` for ${age(deploy.phases.at(-1)?.startedAt ?? deploy.startedAt, now)}` : "";
  return `${renderDeployTitle(deploy)}: ${deploy.phase}${since}${deploy.paused ? ", paused" : ""}`;
}

export function renderDeployTitle({ id, service, strategy, from, to, version }: Deploy): string {
  const release = version === null ? "" : ` (version ${version})`;
  return plain(`deploy ${id} of ${service}, ${strategy}, generation ${from ?? "none"} -> ${to}${release}`);
}

/** `   1.2 s  verifying`: the time is since the deploy's start. */
export function renderStep({ startedAt }: Deploy, at: string, what: string): string {
  const seconds = Math.max(0, Date.parse(at) - Date.parse(startedAt)) / 1000;
  return `${seconds.toFixed(1).padStart(7)} s  ${plain(what)}`;
}

export function renderPhase(deploy: Deploy, { phase, startedAt }: PhaseRecord): string {
  return renderStep(deploy, startedAt, phase);
}

export function renderHistory(deploys: readonly Deploy[], now: number): string {
  if (deploys.length === 0) return "no deploys";
  const columns = [
    { title: "DEPLOY" },
    { title: "SERVICE" },
    { title: "VERSION" },
    { title: "GENERATION" },
    { title: "RESULT" },
    { title: "AGO", align: "right" },
    { title: "TOOK", align: "right" },
    { title: "BY" },
  ] as const;
  const rows = deploys.map((deploy) => [
    deploy.id,
    deploy.service,
    deploy.version ?? "-",
    `${deploy.from ?? "-"} -> ${deploy.to}`,
    deploy.phase,
    age(deploy.startedAt, now),
    deploy.finishedAt === null ? "-" : age(deploy.startedAt, Date.parse(deploy.finishedAt)),
    deploy.requestedBy,
  ]);
  const reasons = deploys.flatMap(({ id, reason }) =>
    reason === null ? [] : [plain(`${id}: ${reason.message}`)],
  );
  return [...table(columns, rows), ...(reasons.length === 0 ? [] : ["", ...reasons])].join("\n");
}

export function renderEvent({ at, type, message }: Event): string {
  return plain(`${at}  ${type.padEnd(20)}  ${message}`);
}

/** What a failed deploy has left as it was. */
export function renderStanding({ name, state, current, generations }: Service): string {
  const generation = generations.find(({ number }) => number === current);
  if (generation === undefined) return `${plain(name)} is ${state}, and no generation is current.`;
  const release = generation.version === null ? "" : ` (version ${plain(generation.version)})`;
  return `Still true: generation ${generation.number}${release} of ${plain(name)} is ${generation.state} with ${percent(generation.weight)} of new connections.`;
}

/** The two largest units of a time span: `3 d 4 h`, `12 s`. */
export function age(since: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

function percent(weight: number): string {
  return `${Number((weight * 100).toFixed(1))} %`;
}
