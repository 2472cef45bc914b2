/** What a deploy sees of a generation. */
import type { CandidateView, GenerationState } from "../deploy/fleet.ts";
import type { GenerationFacts } from "./generation-record.ts";
import type { GenerationProof } from "./generation-proof.ts";
import type { Instances } from "./instances.ts";
import type { Placements } from "./placements.ts";
import type { QueueWatch } from "./queue-watch.ts";

export interface GenerationParts {
  readonly facts: GenerationFacts;
  readonly instances: Pick<Instances, "ready" | "staying" | "leaving">;
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
    exits: facts.exits,
    failure: facts.failure,
    placed: placements.isComplete,
    verification: proof.state,
    verificationSince: proof.since,
    queueSince: queue.since,
    pinned: facts.pinned,
  };
}
