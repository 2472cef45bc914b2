/** The record of a deploy that was asked for, or the reason why there is none. Pure but for the look at the release's files. */
import { beginDeployment } from "../../deploy/begin.ts";
import type { Deployment, DeployOptions } from "../../deploy/deployment.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { ServiceConfig } from "../config/config.ts";
import { type DeployWish, demandsOf } from "./deploy-options.ts";
import { stepsWithout } from "../errors.ts";
import { assertStartable, assertSteerable } from "../generation/release.ts";

/** What is known of the service when someone asks. */
export interface Circumstances {
  readonly config: ServiceConfig;
  readonly listeners: ReadonlyMap<string, Listener>;
  /** The generation that serves; null: there is none. */
  readonly current: { readonly number: number; readonly version: string | null } | null;
  /** What a start without a wish would start. */
  readonly version: string | null;
  /** The service's newest deploy. */
  readonly latest: Deployment | null;
  readonly nextNumber: number;
  readonly options: (wish: DeployWish & { readonly version: string | null }) => DeployOptions;
}

/** Throws a CodedError when it cannot begin. */
export function newDeployment(
  { config, listeners, current, version: remembered, latest, nextNumber, options: optionsOf }: Circumstances,
  wish: DeployWish,
  requestedBy: string,
  now: number,
): Deployment {
  const { name: service, deploy } = config;
  const version =
    wish.version === undefined ? (current === null ? remembered : current.version) : wish.version;
  assertStartable(config, version);
  const strategy = wish.strategy ?? deploy.strategy;
  const options = optionsOf({ ...wish, version });
  if (current !== null)
    assertSteerable(service, strategy, listeners.values(), demandsOf(strategy, options, config));
  if (wish.steps !== undefined && strategy !== "canary") throw stepsWithout(strategy);
  const request = {
    id: `${service}-${nextNumber}`,
    service,
    strategy,
    from: current?.number ?? null,
    to: nextNumber,
    version,
    isRollback: wish.isRollback ?? false,
    requestedBy,
    options,
  };
  return beginDeployment(request, latest, now);
}
