/** The daemon's objects as the API shows them. */
import type {
  Deploy,
  DeployStep,
  Generation as GenerationBody,
  Listener as ListenerBody,
  Service as ServiceBody,
} from "../admin-api/schemas.ts";
import type { Deployment } from "../deploy/deployment.ts";
import { touched } from "../deploy/exposure.ts";
import type { Listener } from "../handoff/listener.ts";
import type { Generation } from "./generation.ts";
import type { Service } from "./service.ts";

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}

export function deployBody(deployment: Deployment): Deploy {
  const { id, service, strategy, from, to, version, phase, weight, pinned, paused } = deployment;
  const { requestedBy, reason } = deployment;
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
    requestedBy,
    startedAt: time(deployment.startedAt),
    finishedAt: timeOrNull(deployment.finishedAt),
    reason,
    phases: deployment.phases.map((record) => ({
      phase: record.phase,
      startedAt: time(record.startedAt),
      finishedAt: timeOrNull(record.finishedAt),
    })),
  };
}

function stepBody({ step, options }: Deployment): DeployStep | null {
  if (step === null) return null;
  const { index, since, continuedAt } = step;
  return { index, of: options.steps.length, since: time(since), continuedAt: timeOrNull(continuedAt) };
}

/** `connections`: how many open connections bear a mark; null when they are not marked. */
export function generationBody(
  generation: Generation,
  connections: ReadonlyMap<number, number> | null,
): GenerationBody {
  return {
    number: generation.number,
    version: generation.version,
    state: generation.state,
    weight: generation.weight,
    connections:
      connections === null
        ? null
        : generation.marks.reduce((sum, mark) => sum + (connections.get(mark) ?? 0), 0),
    startedAt: time(generation.startedAt),
    instances: generation.instances.map(({ id, pid, state, restarts }) => ({ id, pid, state, restarts })),
  };
}

export function serviceBody(service: Service, connections: ReadonlyMap<number, number> | null): ServiceBody {
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
  };
}

export function listenerBody(listener: Listener): ListenerBody {
  return {
    name: listener.name,
    protocol: listener.protocol,
    address: listener.address,
    mode: listener.mode,
    slots: listener.slots.map((slot) => {
      const { length, limit } = slot.queue;
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
