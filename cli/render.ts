/** Turns what the API answers into text for people: at most 80 columns, no colours, nothing that moves. */
import type {
  Deploy,
  Draining,
  Event,
  Generation,
  GenerationEvidence,
  Listener,
  PhaseRecord,
  Service,
  Status,
} from "../admin-api/schemas.ts";
import { cut, plain, table } from "./table.ts";

/** What is left of a line for a detail of the history: ids are as long as the service's name. */
const DETAIL_COLUMNS = 62;

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
  const { name, state, generations, deploy, held, pending = [], leaving = false } = service;
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
  const under = [
    ...generations.flatMap((one) =>
      one.draining === undefined ? [] : [renderDrain(one, one.draining, now)],
    ),
    ...(deploy === null ? [] : [`  ${renderDeployLine(deploy, now)}`]),
    ...(pending.length === 0 ? [] : [`  with the next deploy: ${pending.join(", ")}`]),
  ].map((line) => cut(line, 80));
  const is = leaving ? "being removed" : state;
  const title = held === null ? `${plain(name)} is ${is}` : renderHeld(service, now);
  return [`\n${cut(title, 80)}`, ...(rows.length === 0 ? [] : table(columns, rows)), ...under].join("\n");
}

/** `api is held for 5 s by root (uid 0), 12 connections wait`. */
export function renderHeld({ name, state, held }: Service, now: number): string {
  if (held === null) return `${plain(name)} is ${state}`;
  const { since, requestedBy, waiting } = held;
  const wait = waiting === 1 ? "1 connection waits" : `${waiting} connections wait`;
  return plain(`${name} is held for ${age(since, now)} by ${requestedBy}, ${wait}`);
}

/** The instances come and go in their own time: what is said is what was asked for. */
export function renderScaled({ name, generations, current }: Service, instances: number): string {
  const now = generations.find(({ number }) => number === current)?.instances.length ?? 0;
  return plain(`${name} is to have ${instances} instance${instances === 1 ? "" : "s"} and has ${now} now`);
}

/** `  generation 3 has drained for 12 s and has at most 18 s left; 4 connections are open`. */
function renderDrain(
  { number }: Generation,
  { since, deadline, connections }: Draining,
  now: number,
): string {
  const open = connections === null ? "" : `; ${counted(connections, "connection")} open`;
  const left = age(new Date(now).toISOString(), Date.parse(deadline));
  return `  generation ${number} has drained for ${age(since, now)}, at most ${left} more${open}`;
}

export function renderEnded(service: string, { number, connections }: Generation): string {
  const cutting = connections === null ? "" : `, with ${counted(connections, "open connection")}`;
  return plain(`generation ${number} of ${service} is being ended${cutting}`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
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
  const step = deploy.step === null ? "" : `, step ${deploy.step.index + 1} of ${deploy.step.of}`;
  return `${renderDeployTitle(deploy)}: ${deploy.phase}${since}${step}${deploy.paused ? ", paused" : ""}`;
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
  return [...table(columns, rows), ...deploys.flatMap(renderDetails)].join("\n");
}

/** Below the table: how long each phase took, what became of connections, and why it ended so. */
function renderDetails({ id, phases, evidence, reason }: Deploy): readonly string[] {
  const took = phases.flatMap(({ phase, startedAt, finishedAt }) =>
    finishedAt === null || finishedAt === startedAt
      ? []
      : [`${phase} ${span(Date.parse(finishedAt) - Date.parse(startedAt))}`],
  );
  const generations = [evidence?.previous, evidence?.candidate].flatMap((each) =>
    each === undefined || each === null ? [] : renderEvidence(each),
  );
  const lines = [
    ...(took.length === 0 ? [] : wrapped(took.join(", "))),
    ...generations.flatMap(wrapped),
    ...(reason === null ? [] : [reason.message]),
  ];
  return lines.length === 0 ? [] : ["", ...lines.map((line) => plain(`${id}: ${line}`))];
}

function renderEvidence(evidence: GenerationEvidence): readonly string[] {
  const { generation, atShift, peak, atEnd, cut, endedBy } = evidence;
  const known = [
    [atShift, "when traffic moved"],
    [peak, "at most"],
    [atEnd, "when told to end"],
    [cut, "cut"],
  ] as const;
  const counts = known.flatMap(([count, when]) => (count === null ? [] : [`${count} ${when}`]));
  const ended = endedBy === null ? [] : [`ended by ${endedBy}`];
  const words = [...counts, ...ended];
  return words.length === 0 ? [] : [`connections of generation ${generation}: ${words.join(", ")}`];
}

/** At commas, in lines that fit behind a deploy's id. */
function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  for (const part of text.split(", ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length < DETAIL_COLUMNS)
      lines.push(`${lines.pop() ?? ""}, ${part}`);
    else lines.push(last === undefined ? part : `  ${part}`);
  }
  return lines;
}

function span(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : age(new Date(0).toISOString(), ms);
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
