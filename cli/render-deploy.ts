/** One deploy, as text for people. */
import type { Deploy, Phase, PhaseRecord, Service } from "../admin-api/schemas.ts";
import { age } from "./duration.ts";
import type { Look, Tone } from "./look.ts";
import { percent } from "./percent.ts";
import { plain } from "./table.ts";

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
export function renderStep(
  { startedAt }: Deploy,
  at: string,
  what: string,
  paint: (text: string) => string = (text) => text,
): string {
  const seconds = Math.max(0, Date.parse(at) - Date.parse(startedAt)) / 1000;
  return `${seconds.toFixed(1).padStart(7)} s  ${paint(plain(what))}`;
}

export function renderPhase(deploy: Deploy, { phase, startedAt }: PhaseRecord, look: Look): string {
  return renderStep(deploy, startedAt, phase, (text) => look.paint(phaseTone(phase), text));
}

/** What a failed deploy has left as it was. */
export function renderStanding({ name, state, current, generations }: Service): string {
  const generation = generations.find(({ number }) => number === current);
  if (generation === undefined) return `${plain(name)} is ${state}, and no generation is current.`;
  const release = generation.version === null ? "" : ` (version ${plain(generation.version)})`;
  return `Still true: generation ${generation.number}${release} of ${plain(name)} is ${generation.state} with ${percent(generation.weight)} of new connections.`;
}

export function phaseTone(phase: Phase): Tone {
  switch (phase) {
    case "starting":
    case "verifying":
    case "shifting":
    case "baking":
    case "draining":
      return "busy";
    case "succeeded":
      return "good";
    case "rolling-back":
    case "rolled-back":
    case "failed":
    case "aborted":
      return "bad";
  }
}
