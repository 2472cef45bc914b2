/** An acceptor gives back what is still its own, and nothing else. */
import { expect, it } from "vitest";
import { acceptLeftovers } from "../../../daemon/generation/acceptor.ts";
import type { Generation } from "../../../daemon/generation/generation.ts";
import type { Surroundings } from "../../../daemon/surroundings.ts";
import { closeListeners, openTcp } from "../../handoff/listener-support.ts";
import type { Slot } from "../../../handoff/slot.ts";

closeListeners();

it.each([
  ["keeps the owner that it was given meanwhile", "api/7", "api/7"],
  ["is idle again", null, null],
])("a slot whose acceptor has ended %s", async (_, meanwhile, afterwards) => {
  const listener = await openTcp("tcp:127.0.0.1:0", 1);
  const slot = listener.slots[0] as Slot;
  slot.owner = null;
  const owners: (string | null)[] = [];
  const said: string[] = [];
  const current = {
    config: { name: "api", command: ["/bin/true"] },
    /** Asked for when the acceptor is about to be started. */
    get placements(): never {
      owners.push(slot.owner);
      if (meanwhile !== null) slot.owner = meanwhile;
      throw new Error("it cannot be started");
    },
  } as unknown as Generation;
  const surroundings = { say: ({ type }: { type: string }) => said.push(type) } as unknown as Surroundings;
  await acceptLeftovers({ listener, slot }, current, new Set(), surroundings);
  expect(owners).toEqual(["api/acceptor"]);
  expect(said).toEqual(["acceptor.started", "acceptor.failed"]);
  expect(slot.owner).toBe(afterwards);
});
