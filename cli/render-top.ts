/**
 * The whole at a glance, drawn again and again: what does not fit is left out from the bottom, and said.
 *
 *   handoffd 0.1.0, pid 41, up 3 h 2 min                                          12:03:04
 *
 *   api  running
 *     3  41   serving  ████████████████  100 %   17 conn  2/2
 *     deploy api-4 …: baking, 12 s left
 *   web  tcp:0.0.0.0:8080  queue 0 of 4096
 *
 *   12:03:01  deploy.phase  deploy api-4: baking
 */
import type { Deploy, Event, Generation, Listener, Service, Status } from "../admin-api/schemas.ts";
import { bar } from "./bar.ts";
import { age, left } from "./duration.ts";
import type { Look } from "./look.ts";
import { percent } from "./percent.ts";
import { eventTone, serviceTone, stateTone } from "./render.ts";
import { phaseTone } from "./render-deploy.ts";
import { cut, plain } from "./table.ts";

/** What has been seen last. */
export interface Seen {
  readonly status: Status;
  /** The newest last. */
  readonly events: readonly Event[];
  /** Why the daemon does not answer just now; null: it does. */
  readonly trouble: string | null;
}

/** From so many columns on there is room for long versions and bars. */
const WIDE = 72;
/** The longest state: starting, draining. */
const STATE = 8;
/** So many events are worth seeing, if there is room. */
const EVENTS = 8;

/** At most `rows` lines. */
export function renderTop(seen: Seen, now: number, rows: number, look: Look): readonly string[] {
  const { status, events, trouble } = seen;
  const body = [
    ...status.services.flatMap((service) => serviceLines(service, status.listeners, now, look)),
    "",
    ...status.listeners.map((listener) => listenerLine(listener, look)),
  ];
  const news = events.slice(-EVENTS).map((event) => eventLine(event, look));
  const head = [
    headLine(status, now, look),
    ...(trouble === null ? [] : [look.paint("bad", fit(trouble, look))]),
    "",
  ];
  const room = rows - head.length - 1;
  const shown = body.length + 1 + news.length <= room ? [...body, "", ...news] : shortened(body, news, room);
  return [...head, ...shown, fit("q or Ctrl-C ends this, and nothing else", look)].slice(0, rows);
}

/** Events go first, then what is at the end. */
function shortened(body: readonly string[], news: readonly string[], room: number): readonly string[] {
  const left = Math.max(0, room - body.length - 1);
  if (left > 0) return [...body, "", ...news.slice(-left)];
  const kept = Math.max(0, room - 1);
  return body.length <= room ? body : [...body.slice(0, kept), `… ${body.length - kept} lines more`];
}

function headLine({ version, pid, startedAt, upgrades }: Status, now: number, look: Look): string {
  const clock = new Date(now).toISOString().slice(11, 19);
  const upgraded = upgrades === 0 ? "" : `, ${upgrades} upgrade${upgrades === 1 ? "" : "s"}`;
  const text = plain(`handoffd ${version}, pid ${pid}, up ${age(startedAt, now)}${upgraded}`);
  const room = look.columns - clock.length - 2;
  if (room < clock.length) return fit(text, look);
  return `${look.paint("title", cut(text, room).padEnd(room))}  ${clock}`;
}

function serviceLines(
  service: Service,
  listeners: readonly Listener[],
  now: number,
  look: Look,
): readonly string[] {
  const { name, state, generations, deploy, held } = service;
  const waiting = listeners
    .flatMap(({ slots }) => slots)
    .filter(({ generation }) => generation?.startsWith(`${name}/`));
  const queue = waiting.reduce((total, slot) => total + slot.queue.length, 0);
  const restarts = generations
    .flatMap(({ instances }) => instances)
    .reduce((total, each) => total + each.restarts, 0);
  const about = [
    ...(held === null ? [] : [`held for ${age(held.since, now)}, ${held.waiting} waiting`]),
    ...(queue === 0 ? [] : [`${queue} waiting to be accepted`]),
    ...(restarts === 0 ? [] : [`${restarts} restart${restarts === 1 ? "" : "s"}`]),
  ];
  const title = fit([`${plain(name)}  ${state}`, ...about].join(", "), look);
  return [
    look.paint(serviceTone(state), title),
    ...generations.filter((each) => each.state !== "stopped").map((each) => generationLine(each, now, look)),
    ...(deploy === null ? [] : [deployLine(deploy, now, look)]),
  ];
}

function generationLine(generation: Generation, now: number, look: Look): string {
  const { number, version, state, weight, connections, instances, draining } = generation;
  const ready = instances.filter((each) => each.state === "serving" || each.state === "standby").length;
  const words = [
    percent(weight).padStart(6),
    `${ready}/${instances.length}`.padStart(5),
    connections === null ? "" : `${connections} conn`.padStart(10),
    draining === undefined ? "" : `at most ${left(draining.deadline, now)}`,
  ];
  const [most, width] = look.columns < WIDE ? [6, 4] : [12, 16];
  const label = `  ${String(number).padStart(4)}  ${cut(plain(version ?? "-"), most).padEnd(most)}  `;
  const text = words.join("  ").trimEnd();
  const room = look.columns - label.length - STATE - width - 4;
  if (room < 6) return fit(`${label}${state} ${text.trimStart()}`, look);
  const drawn = bar(weight, width, weight > 0 ? "good" : "quiet", look);
  return `${label}${look.paint(stateTone(state) ?? "quiet", state.padEnd(STATE))}  ${drawn}  ${cut(text, room)}`;
}

function deployLine({ id, phase, paused, until, step }: Deploy, now: number, look: Look): string {
  const at = step === null ? "" : `, step ${step.index + 1} of ${step.of}`;
  const clock = until === undefined ? "" : `, ${left(until, now)} left`;
  return look.paint(
    phaseTone(phase),
    fit(`  deploy ${plain(id)}: ${phase}${at}${paused ? ", paused" : clock}`, look),
  );
}

function listenerLine({ name, protocol, address, slots }: Listener, look: Look): string {
  const length = slots.reduce((total, { queue }) => total + queue.length, 0);
  const limit = Math.max(0, ...slots.map(({ queue }) => queue.limit));
  const text = fit(plain(`${name}  ${protocol}:${address}  queue ${length} of ${limit}`), look);
  return length === 0 ? text : look.paint("busy", text);
}

function eventLine({ at, type, message }: Event, look: Look): string {
  const text = cut(`${plain(type).padEnd(18)}  ${plain(message)}`, look.columns - 10);
  return `${look.paint("quiet", at.slice(11, 19))}  ${look.paint(eventTone(type), text)}`;
}

function fit(text: string, { columns }: Look): string {
  return cut(text, columns);
}
