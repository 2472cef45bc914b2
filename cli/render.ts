/** Turns what the API answers into text for people, in lines that fit the terminal. */
import type {
  Draining,
  Event,
  Generation,
  Listener,
  Service,
  ServiceState,
  Status,
} from "../admin-api/schemas.ts";
import { age } from "./duration.ts";
import { type Look, PLAIN, type Tone } from "./look.ts";
import { percent } from "./percent.ts";
import { renderDeployLine } from "./render-deploy.ts";
import { cut, plain, table } from "./table.ts";

export function renderStatus(status: Status, now: number, look: Look = PLAIN): string {
  const { version, pid, startedAt, upgrades } = status;
  const upgraded = upgrades === 0 ? "" : `, ${upgrades} upgrade${upgrades === 1 ? "" : "s"}`;
  const head = `handoffd ${plain(version)}, pid ${pid}, up ${age(startedAt, now)}${upgraded}`;
  return [
    cut(head, look.columns),
    "",
    renderListeners(status.listeners, look),
    ...status.services.map((one) => renderService(one, now, look)),
  ].join("\n");
}

export function renderListeners(listeners: readonly Listener[], look: Look = PLAIN): string {
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
    { title: "ADDRESS", leaves: 3 },
    { title: "MODE", leaves: 1 },
    { title: "SLOT", align: "right", leaves: 2 },
    { title: "GENERATION" },
    { title: "WEIGHT", align: "right", tone: weightTone },
    { title: "QUEUE", align: "right", tone: queueTone },
  ] as const;
  return table(columns, rows, look).join("\n");
}

function renderService(service: Service, now: number, look: Look): string {
  const { name, state, generations, deploy, held, pending = [], leaving = false } = service;
  const columns = [
    { title: "  GENERATION" },
    { title: "VERSION" },
    { title: "ROLE", leaves: 2 },
    { title: "STATE", tone: stateTone },
    { title: "WEIGHT", align: "right", tone: weightTone },
    { title: "CONNECTIONS", align: "right", leaves: 4 },
    { title: "INSTANCES", align: "right", leaves: 3 },
    { title: "UP", align: "right", leaves: 1 },
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
  ].map((line) => cut(line, look.columns));
  const is = leaving ? "being removed" : state;
  const title = held === null ? `${plain(name)} is ${is}` : renderHeld(service, now);
  const heading = look.paint(serviceTone(state), cut(title, look.columns));
  return ["", heading, ...(rows.length === 0 ? [] : table(columns, rows, look)), ...under].join("\n");
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

export function renderEvent({ at, type, message }: Event, { paint }: Look = PLAIN): string {
  return `${paint("quiet", at)}  ${paint(eventTone(type), plain(type).padEnd(20))}  ${plain(message)}`;
}

export function eventTone(type: string): Tone {
  return /failed|exited|lost|refused|cut/u.test(type) ? "bad" : "title";
}

export function serviceTone(state: ServiceState): Tone {
  switch (state) {
    case "running":
      return "good";
    case "starting":
    case "held":
      return "busy";
    case "degraded":
    case "stopped":
      return "bad";
  }
}

/** By the word as it stands in a cell, which may be cut. */
export function stateTone(state: string): Tone | null {
  if (state.startsWith("serv")) return "good";
  if (state.startsWith("fail")) return "bad";
  return /^(start|stand|drain)/u.test(state) ? "busy" : null;
}

function weightTone(weight: string): Tone | null {
  return weight === "0 %" ? "quiet" : null;
}

/** Somebody waits. */
function queueTone(queue: string): Tone | null {
  return queue.startsWith("0/") ? "quiet" : "busy";
}
