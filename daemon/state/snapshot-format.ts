/**
 * The formats in which a service's record was ever written, and how each becomes the next. Pure.
 *
 *   1   the first
 *   2   generations: isSignalled, cookies, pinned, ending · deploys: pinned, exposure, step, resizedAt, fallback, and what canary,
 *       rolling and recreate need · the service: hold, instances, waiting
 *   3   instances: said, extendedTo · generations: store
 *
 * The format of the version before is always read; test/golden/ has one file of each. Beyond that, keys that the
 * configuration has got since are filled in with their defaults: a generation keeps the configuration that it was
 * started with, which an older version has written.
 */
import type { ServiceConfig } from "../config/config.ts";
import { normaliseService } from "../config/normalise-service.ts";
import { SAID_NOTHING } from "../generation/program-channel.ts";

export const FORMAT = 3;

/** A mapping of JSON whose keys are not known yet. */
export type Fields = Readonly<Record<string, unknown>>;

const MIGRATIONS: Readonly<Record<number, (content: Fields) => Fields>> = {
  1: fromFirst,
  2: fromSecond,
};

/** Whether `format` can be read: today's, or one that leads to it. */
export function isReadable(format: unknown): boolean {
  return format === FORMAT || (typeof format === "number" && format in MIGRATIONS);
}

/** The content in today's format. `format` must be readable. */
export function migrate(content: Fields): Fields {
  let now = content;
  for (let format = Number(content["format"]); format < FORMAT; format++) {
    now = { ...(MIGRATIONS[format]?.(now) ?? now), format: format + 1 };
  }
  const generations = listOf(now["generations"]).map((generation) => ({
    ...generation,
    config: completeConfig(generation["config"] as ServiceConfig),
  }));
  return { ...now, generations };
}

function fromFirst(content: Fields): Fields {
  const generations = listOf(content["generations"]);
  const instancesOf = (number: unknown, otherwise: number): number => {
    const config = generations.find((generation) => generation["number"] === number)?.["config"];
    return (config as ServiceConfig | undefined)?.instances ?? otherwise;
  };
  return {
    hold: null,
    instances: null,
    waiting: {},
    ...content,
    // That version has sent the signal in the same breath.
    generations: generations.map((each) => ({
      isSignalled: each["signalledAt"] !== null,
      cookies: {},
      pinned: false,
      ending: null,
      ...each,
    })),
    deploys: listOf(content["deploys"]).map((deployment) => ({
      pinned: false,
      exposure: null,
      step: null,
      resizedAt: null,
      fallback: null,
      ...deployment,
      options: {
        instances: instancesOf(deployment["to"], 1),
        previousInstances: deployment["from"] === null ? 0 : instancesOf(deployment["from"], 1),
        watchQueueMs: 0,
        steps: [],
        floor: 1,
        hasPins: false,
        fallsBack: false,
        overlaps: false,
        analysis: null,
        ...(deployment["options"] as Fields),
      },
    })),
  };
}

/** Programs said nothing then, and the daemon would not have heard it. */
function fromSecond(content: Fields): Fields {
  const generations = listOf(content["generations"]).map((generation) => ({
    ...generation,
    instances: listOf(generation["instances"]).map((instance) => ({ said: SAID_NOTHING, ...instance })),
  }));
  return { ...content, generations };
}

/** The configuration with the defaults of all keys that it does not have yet. */
function completeConfig(config: ServiceConfig): ServiceConfig {
  const nobody = { lookupUser: () => null, lookupGroup: () => null };
  return filled(config, normaliseService(config.name, { command: ["-"] }, nobody));
}

function filled<T>(value: T, template: T): T {
  if (!isMapping(value) || !isMapping(template)) return value;
  // Another choice than the default has other keys.
  if (["by", "kind"].some((choice) => value[choice] !== template[choice])) return value;
  const missing = Object.entries(template).filter(([key]) => value[key] === undefined);
  const known = Object.entries(value).map(([key, own]) => [key, filled(own, template[key])]);
  return Object.fromEntries([...known, ...missing]) as T;
}

function isMapping(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? (value as readonly Fields[]) : [];
}
