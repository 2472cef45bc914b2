/** What a deploy sees of a generation, and what the snapshot says of it. */
import type { CandidateView, GenerationState } from "../../deploy/fleet.ts";
import { READY_GRACE_MS } from "../service/deploy-options.ts";
import type { Generation } from "./generation.ts";
import type { GenerationFacts, GenerationRecord } from "./generation-record.ts";
import type { GenerationProof } from "../proof/generation-proof.ts";
import type { Instances } from "./instances.ts";
import type { Placements } from "../sockets/placements.ts";
import type { QueueWatch } from "../sockets/queue-watch.ts";

export interface GenerationParts {
  readonly facts: GenerationFacts;
  readonly instances: Pick<Instances, "ready" | "staying" | "leaving" | "extendedTo">;
  readonly placements: Pick<Placements, "isComplete">;
  readonly proof: Pick<GenerationProof, "state" | "since">;
  readonly queue: Pick<QueueWatch, "since">;
}

export function viewOf(
  state: GenerationState,
  { facts, instances, placements, proof, queue }: GenerationParts,
): CandidateView {
  return {
    state,
    weight: facts.weight,
    ready: instances.ready,
    wanted: instances.staying.length,
    leaving: instances.leaving,
    startsUntil: instances.extendedTo === 0 ? 0 : instances.extendedTo + READY_GRACE_MS,
    exits: facts.exits,
    failure: facts.failure,
    placed: placements.isComplete,
    verification: proof.state,
    verificationSince: proof.since,
    queueSince: queue.since,
    pinned: facts.pinned,
  };
}

export function recordOf(
  { number, version, state, since, startedAt, traffic, store, config }: Generation,
  facts: GenerationFacts,
  { indices, cookies, marks }: Placements,
  { records }: Instances,
): GenerationRecord {
  return {
    ...facts,
    number,
    version,
    state,
    since,
    startedAt,
    slots: indices,
    cookies,
    marks,
    instances: records,
    traffic: traffic.record,
    store: store.record,
    config,
  };
}
