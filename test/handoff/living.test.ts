/** Which connections in a queue still have a client: those that were reset stay there until they are accepted. */
import { once } from "node:events";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { Descriptor } from "../../handoff/descriptor.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { Slot } from "../../handoff/slot.ts";
import { acceptAll, closeListeners, dial, openTcp, pinOf } from "./listener-support.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();
closeListeners();

function pinned(listener: Listener, slot: Slot, n: number): Descriptor {
  const { where, from } = pinOf(listener.probe(slot), n);
  return dial(where, from);
}

/** Its peer sees a reset, not an end. */
async function reset(client: Descriptor): Promise<void> {
  await once(new Socket({ fd: client.take() }).resetAndDestroy(), "close");
}

describe.each(["tcp:127.0.0.1:0", "tcp:0.0.0.0:0", "tcp:[::1]:0", "tcp:[::]:0"])("at %s", (address) => {
  it("who was reset waits without a client, who has closed its half does not", async () => {
    const listener = await openTcp(address, 2);
    const [slot, other] = listener.slots as [Slot, Slot];
    using elsewhere = pinned(listener, other, 0);
    await reset(pinned(listener, slot, 0));
    expect([slot.queue.length, listener.living(slot)]).toEqual([1, 0]);
    expect([other.queue.length, listener.living(other)]).toEqual([1, 1]);

    // In good order: it may have asked something, and waits for the answer.
    pinned(listener, slot, 1).close();
    using alive = pinned(listener, slot, 2);
    expect([slot.queue.length, listener.living(slot)]).toEqual([3, 2]);
    slot.discardQueue(1);
    expect([slot.queue.length, listener.living(slot)]).toEqual([2, 2]);
    expect(acceptAll([slot.fd, other.fd])).toEqual([2, 1]);
    expect(alive.fd).not.toBe(elsewhere.fd);
  });
});

it("what bears no slot's mark may be in any queue", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const [slot, other] = listener.slots as [Slot, Slot];
  using early = pinned(listener, other, 0);
  other.mark += 1000;
  await reset(pinned(listener, slot, 0));
  expect(listener.living(slot)).toBe(1);
  expect(acceptAll([slot.fd, other.fd])).toEqual([1, 1]);
  expect(early.fd).toBeGreaterThan(0);
});

it("without marks nobody can tell", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 1, { nextMark: null });
  expect(listener.living(listener.slots[0] as Slot)).toBeNull();
});
