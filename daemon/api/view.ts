/** The daemon's objects as the API shows them. */
import type {
  Deploy,
  DeployStep,
  Generation as GenerationBody,
  Listener as ListenerBody,
  Service as ServiceBody,
} from "../../admin-api/schemas.ts";
import { dueAt } from "../../deploy/due.ts";
import { touched } from "../../deploy/exposure.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { Remembered } from "../service/evidence.ts";
import { pendingKeys } from "../reload/reload-plan.ts";
import type { Queue } from "../../handoff/slot.ts";
import type { Generation } from "../generation/generation.ts";
import { openOf } from "../sockets/marks.ts";
import { drainDeadline } from "../generation/retirement.ts";
import type { Service } from "../service/service.ts";

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}

export function deployBody(deployment: Remembered): Deploy {
  const { id, service, strategy, from, to, version, phase, weight, pinned, paused } = deployment;
  const { requestedBy, reason } = deployment;
  const until = dueAt(deployment);
  return {
    id,
    service,
    strategy,
    from,
    to,
    version,
    phase,
    weight,
    touched: touched(deployment.exposure, Date.now()),
    step: stepBody(deployment),
    pinned,
    paused,
    ...(until !== null && { until: time(until) }),
    requestedBy,
    startedAt: time(deployment.startedAt),
    finishedAt: timeOrNull(deployment.finishedAt),
    reason,
    phases: deployment.phases.map((record) => ({
      phase: record.phase,
      startedAt: time(record.startedAt),
      finishedAt: timeOrNull(record.finishedAt),
    })),
    ...(deployment.evidence !== undefined && { evidence: deployment.evidence }),
  };
}

function stepBody({ step, options }: Remembered): DeployStep | null {
  if (step === null) return null;
  const { index, since, continuedAt } = step;
  return { index, of: options.steps.length, since: time(since), continuedAt: timeOrNull(continuedAt) };
}

/** Keys of the configuration that come into force with the service's next deploy. */
export function pendingOf({ config, current, generations }: Service): string[] {
  const started = generations.find(({ number }) => number === current)?.config;
  return started === undefined ? [] : pendingKeys(started, config);
}

/** `connections`: how many open connections bear a mark; null when they are not marked. */
export function generationBody(
  generation: Generation,
  connections: ReadonlyMap<number, number> | null,
): GenerationBody {
  const open = openOf(generation.marks, connections);
  return {
    number: generation.number,
    version: generation.version,
    state: generation.state,
    weight: generation.weight,
    connections: open,
    ...(generation.state === "draining" && {
      draining: {
        since: time(generation.since),
        deadline: time(drainDeadline(generation)),
        connections: open,
      },
    }),
    startedAt: time(generation.startedAt),
    instances: generation.instances.map(({ id, pid, state, restarts, notices: { status } }) => ({
      id,
      pid,
      state,
      restarts,
      ...(status !== null && { status }),
    })),
  };
}

export function serviceBody(
  service: Service,
  connections: ReadonlyMap<number, number> | null,
  isLeaving: boolean,
): ServiceBody {
  const pending = pendingOf(service);
  const { activeDeploy: active, held } = service;
  return {
    name: service.name,
    state: service.state,
    current: service.current,
    candidate: service.candidate,
    previous: service.previous,
    generations: service.generations.map((generation) => generationBody(generation, connections)),
    deploy: active === null ? null : deployBody(active),
    held:
      held === null
        ? null
        : {
            since: time(held.since),
            requestedBy: held.requestedBy,
            waiting: held.waiting,
            idles: held.idles,
          },
    ...(pending.length === 0 ? {} : { pending }),
    ...(isLeaving ? { leaving: true } : {}),
  };
}

/** `queues`: of many slots by inode, read together; a slot that is not in there is asked for its own. */
export function listenerBody(
  listener: Listener,
  isLeaving: boolean,
  queues: ReadonlyMap<number, Queue> | null,
): ListenerBody {
  return {
    name: listener.name,
    protocol: listener.protocol,
    address: listener.address,
    mode: listener.mode,
    ...(isLeaving ? { leaving: true } : {}),
    slots: listener.slots.map((slot) => {
      const { length, limit } = queues?.get(slot.inode) ?? slot.queue;
      return {
        index: slot.index,
        generation: slot.owner,
        weight: listener.shares.find((share) => share.slot === slot.index)?.share ?? 0,
        queue: { length, limit },
        ...(slot.holders.length === 0 ? {} : { held: slot.holders.map((holder) => ({ ...holder })) }),
      };
    }),
  };
}
