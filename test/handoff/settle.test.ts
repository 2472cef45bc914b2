import { describe, expect, it } from "vitest";
import { native, SO } from "../../handoff/native.ts";
import { Settling } from "../../handoff/settle.ts";
import type { Slot } from "../../handoff/slot.ts";
import { SilentClients } from "../support/net.ts";
import { eventually } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";
import { acceptAll, closeListeners, dial, openTcp, whereOf } from "./listener-support.ts";

expectTableUnchanged();
closeListeners();

function deferAccept(slot: Slot): void {
  native.setOption(slot.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT, 30);
}

/** Two slots, of which the first has the weight and keeps handshakes half-open until the client speaks. */
async function deferring(address: string, more: { nextMark?: null } = {}) {
  const listener = await openTcp(address, 2, more);
  const [old, fresh] = listener.slots as [Slot, Slot];
  deferAccept(old);
  return { listener, old, fresh, where: whereOf(listener) };
}

describe.each(["tcp:127.0.0.1:0", "tcp:0.0.0.0:0", "tcp:[::1]:0", "tcp:[::]:0"])("at %s", (address) => {
  it.each([
    ["with marks", {}],
    ["without marks", { nextMark: null }],
  ])("half-open handshakes are seen and waited for %s", async (_, more) => {
    const { listener, old, fresh, where } = await deferring(address, more);
    using silent = await SilentClients.open(5, where);
    listener.steer([{ slot: 1, share: 1 }]);
    const settling = new Settling(listener, old);
    expect(settling.look()).toEqual({ queued: 0, halfOpen: 5 });

    // They are finished after the weights have changed, and are this slot's all the same.
    const spoken = silent.speak({ timeoutMs: 5_000 });
    await eventually("the queue", () => settling.look().queued === 5);
    expect(settling.look()).toEqual({ queued: 5, halfOpen: 0 });
    expect(acceptAll([old.fd, fresh.fd])).toEqual([5, 0]);
    expect(settling.look()).toEqual({ queued: 0, halfOpen: 0 });
    await spoken;
  });
});

it("with marks, another slot's handshakes are not waited for", async () => {
  const { listener, old, fresh, where } = await deferring("tcp:127.0.0.1:0");
  deferAccept(fresh);
  listener.steer([{ slot: 1, share: 1 }]);
  using _others = await SilentClients.open(3, where);
  expect(new Settling(listener, old).look().halfOpen).toBe(0);
  expect(new Settling(listener, fresh).look().halfOpen).toBe(3);
});

it("without marks, handshakes that begin after the first look are not waited for: they went elsewhere", async () => {
  const { listener, old, fresh, where } = await deferring("tcp:127.0.0.1:0", { nextMark: null });
  deferAccept(fresh);
  using _early = await SilentClients.open(2, where);
  listener.steer([{ slot: 1, share: 1 }]);
  const settling = new Settling(listener, old);
  expect(settling.look().halfOpen).toBe(2);
  using _late = await SilentClients.open(3, where);
  expect(settling.look().halfOpen).toBe(2);
});

it("another listener's handshakes on the same port are not this one's", async () => {
  const { listener, old } = await deferring("tcp:127.0.0.1:0", { nextMark: null });
  const other = await deferring(`tcp:127.0.0.2:${whereOf(listener).port}`, { nextMark: null });
  using _silent = await SilentClients.open(3, other.where);
  expect(new Settling(listener, old).look().halfOpen).toBe(0);
  expect(new Settling(other.listener, other.old).look().halfOpen).toBe(3);
});

it("what waits in the queue is seen, and is still there when the weight has gone", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const clients = [1, 2, 3].map(() => dial(whereOf(listener)));
  listener.steer([{ slot: 1, share: 1 }]);
  const settling = new Settling(listener, listener.slots[0] as Slot);
  await eventually("the queue", () => settling.look().queued === 3);
  expect(settling.look()).toEqual({ queued: 3, halfOpen: 0 });
  for (const client of clients) client.close();
});
