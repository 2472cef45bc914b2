/**
 * A deploy that is under way, drawn again and again: the clock of its phase and who gets the connections.
 *
 *   baking       ████████████████░░░░░░░░░░░░░░░░  18 s left
 *   generation 3 ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    0 %  17 connections
 *   generation 4 ████████████████████████████████  100 %  3 connections
 */
import type { Deploy, Generation, Service } from "../admin-api/schemas.ts";
import { bar } from "./bar.ts";
import { left } from "./duration.ts";
import type { Look, Tone } from "./look.ts";
import { percent } from "./percent.ts";
import { phaseTone } from "./render-deploy.ts";
import { cut, plain } from "./table.ts";

interface Line {
  readonly label: string;
  /** null: there is nothing that could be measured. */
  readonly share: number | null;
  readonly tone: Tone;
  readonly detail: string;
}

const LONGEST_BAR = 32;
const SHORTEST_BAR = 6;

/** `service`: as last seen, null before it was. Each line fits the terminal. */
export function renderProgress(
  deploy: Deploy,
  service: Service | null,
  now: number,
  look: Look,
): readonly string[] {
  const generations = (service?.generations ?? []).filter(({ number, state }) => {
    return (number === deploy.from || number === deploy.to) && state !== "stopped";
  });
  const lines = [
    phaseLine(deploy, service, now),
    ...generations.map((generation) => generationLine(generation, deploy)),
  ];
  const labels = Math.max(...lines.map(({ label }) => label.length));
  const details = Math.max(...lines.map(({ detail }) => detail.length));
  // A margin of two on the left, and two spaces between the three.
  const width = Math.min(LONGEST_BAR, Math.max(SHORTEST_BAR, look.columns - labels - details - 6));
  const room = Math.max(0, look.columns - labels - width - 6);
  return lines.map(({ label, share, tone, detail }) => {
    const drawn = share === null ? " ".repeat(width) : bar(share, width, tone, look);
    return `  ${look.paint(tone, label.padEnd(labels))}  ${drawn}  ${cut(detail, room)}`.trimEnd();
  });
}

function phaseLine(deploy: Deploy, service: Service | null, now: number): Line {
  const { phase, step, paused, until, service: name } = deploy;
  const tone = phaseTone(phase);
  const label = phase === "shifting" && step !== null ? `step ${step.index + 1} of ${step.of}` : phase;
  if (paused) return { label, share: null, tone, detail: `paused: handoffctl continue ${plain(name)}` };
  const drain = service?.generations.find(({ draining }) => draining !== undefined)?.draining;
  if (phase === "draining" && drain !== undefined) {
    const share = passed(drain.since, drain.deadline, now);
    return { label, share, tone, detail: `at most ${left(drain.deadline, now)} left` };
  }
  if (until === undefined) return { label, share: null, tone, detail: "" };
  const isLimit = phase === "starting" || phase === "verifying";
  if (isLimit) return { label, share: null, tone, detail: `at most ${left(until, now)} left` };
  const since = step !== null && phase === "shifting" ? step.since : deploy.phases.at(-1)?.startedAt;
  const isOver = Date.parse(until) <= now;
  const detail = isOver ? "until it is proved once more" : `${left(until, now)} left`;
  return { label, share: passed(since ?? deploy.startedAt, until, now), tone, detail };
}

function generationLine({ number, weight, connections, state, instances }: Generation, deploy: Deploy): Line {
  const isCandidate = number === deploy.to;
  const tone = state === "failed" ? "bad" : isCandidate ? "good" : "title";
  const ready = instances.filter((each) => each.state === "serving" || each.state === "standby").length;
  const open =
    connections === null ? "" : `  ${connections} ${connections === 1 ? "connection" : "connections"}`;
  const boot = ready < instances.length ? `  ${ready} of ${instances.length} ready` : "";
  const detail = `${percent(weight).padStart(5)}${open}${boot}`;
  return { label: `generation ${number}`, share: weight, tone, detail };
}

function passed(since: string, until: string, now: number): number {
  const [from, to] = [Date.parse(since), Date.parse(until)];
  return to <= from ? 1 : (now - from) / (to - from);
}
