/** The daemon's objects as the API shows them. Pure. */
import type {
  Deploy,
  Generation as GenerationBody,
  Listener as ListenerBody,
  Service as ServiceBody,
} from "../admin-api/schemas.ts";
import type { Deployment } from "../deploy/deployment.ts";
import type { Listener } from "../handoff/listener.ts";
import type { Queue } from "../handoff/slot.ts";
import type { Generation } from "./generation.ts";
import type { Service } from "./service.ts";

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}

export function deployBody(deployment: Deployment): Deploy {
  const { id, service, strategy, from, to, version, phase, weight, paused, requestedBy, reason } = deployment;
  return {
    id,
    service,
    strategy,
    from,
    to,
    version,
    phase,
    weight,
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
  const active = service.activeDeploy;
  return {
    name: service.name,
    state: service.state,
    current: service.current,
    candidate: service.candidate,
    previous: service.previous,
    generations: service.generations.map((generation) => generationBody(generation, connections)),
    deploy: active === null ? null : deployBody(active),
  };
}

/** `queues`: of many slots by inode, read together; a slot that is not in there is asked for its own. */
export function listenerBody(
  listener: Listener,
  queues: ReadonlyMap<number, Queue> | null = null,
): ListenerBody {
  return {
    name: listener.name,
    protocol: listener.protocol,
    address: listener.address,
    mode: listener.mode,
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
