/** Weights on all listeners of a service at once, and what is refused before a deploy begins. */
import { describe, expect, it } from "vitest";
import { assertSteerable, type Demands } from "../../../daemon/generation/release.ts";
import { steer } from "../../../daemon/sockets/steer.ts";
import { CodedError } from "../../../handoff/coded-error.ts";
import type { Listener, Mode } from "../../../handoff/listener.ts";
import { MAX_NETWORKS, parseNetworks } from "../../../handoff/network.ts";
import type { Slot } from "../../../handoff/slot.ts";
import { closeListeners, openTcp, spreadOver } from "../../handoff/listener-support.ts";
import { expectTableUnchanged } from "../../handoff/native-support.ts";
import { openUnix, temporaryFolder } from "../../handoff/unix-support.ts";

expectTableUnchanged();
closeListeners();
const folder = temporaryFolder();

const networks = parseNetworks(["127.0.0.0/8"]);

function placement(listener: Listener, slot: number): { listener: Listener; slot: Slot } {
  return { listener, slot: listener.slots[slot] as Slot };
}

describe("steering a service", () => {
  it("gives the candidate the first range on each listener, the previous generation the rest, and both the same salt", async () => {
    const listeners = [await openTcp("tcp:127.0.0.1:0", 3), await openTcp("tcp:127.0.0.1:0", 3)];
    const [candidate, previous] = [2, 0].map((slot) => listeners.map((each) => placement(each, slot)));
    steer(candidate ?? [], previous ?? [], 0.25, { sticky: 5, networks });
    for (const listener of listeners) {
      expect(listener.steering).toEqual({
        shares: [
          { slot: 2, share: 0.25 },
          { slot: 0, share: 0.75 },
        ],
        sticky: 5,
        guests: { slot: 2, networks },
      });
      expect(spreadOver(listener, 50)).toEqual([0, 0, 50]);
    }
    steer(candidate ?? [], previous ?? [], 0);
    for (const listener of listeners) {
      expect(listener.steering).toMatchObject({ sticky: null, guests: null });
      expect(spreadOver(listener, 50)).toEqual([50, 0, 0]);
    }
  });

  it("a unix socket beside it goes all or nothing, and needs no salt", async () => {
    const tcp = await openTcp("tcp:127.0.0.1:0", 2);
    const unix = await openUnix(`${folder.path}/app.sock`, 2);
    const both = [tcp, unix].map((each) => placement(each, 1));
    const previous = [tcp, unix].map((each) => placement(each, 0));
    steer(both, previous, 1, { sticky: 5 });
    expect([tcp.steering.sticky, unix.steering.sticky]).toEqual([5, null]);
    expect(unix.shares).toEqual([{ slot: 1, share: 1 }]);
  });

  it("is all or none: where one listener cannot follow, the others are as they were, salt and guests too", async () => {
    const tcp = await openTcp("tcp:127.0.0.1:0", 2);
    const unix = await openUnix(`${folder.path}/app.sock`, 2);
    steer([placement(tcp, 0)], [placement(tcp, 1)], 0.75, { sticky: 9, networks });
    const before = [tcp.steering, unix.steering];
    const candidate = [tcp, unix].map((each) => placement(each, 1));
    const previous = [tcp, unix].map((each) => placement(each, 0));
    expect(() => {
      steer(candidate, previous, 0.5);
    }).toThrow("one slot at weight 1");
    expect(() => {
      steer(candidate, previous, 1, { networks });
    }).toThrow("cannot tell clients apart");
    const many = parseNetworks(Array.from({ length: MAX_NETWORKS }, (_, n) => `10.0.${n}.0/24`));
    expect(() => {
      steer(candidate, previous, 1, { networks: [...many, ...networks] });
    }).toThrow("too many");
    expect([tcp.steering, unix.steering]).toEqual(before);
    expect(spreadOver(tcp, 50)).toEqual([50, 0]);
  });
});

describe("what a deploy asks of the listeners", () => {
  /** Why it is refused; null when it is not. */
  function refusal(mode: Mode, strategy: string, demands?: Demands): string | null {
    const listener = { name: "web", mode } as Listener;
    try {
      assertSteerable("api", strategy, [listener], demands);
      return null;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      expect(error.code).toBe("STRATEGY_NEEDS_STEERING");
      return error.message;
    }
  }

  it.each<[Mode, string, Demands, string | null]>([
    ["steered", "canary", { shares: [0.05, 0.5, 1], networks: 3 }, null],
    ["steered", "rolling", { shares: [0.5, 1] }, null],
    ["steered", "recreate", {}, null],
    ["renamed", "blue-green", { shares: [0, 1] }, null],
    ["renamed", "recreate", {}, null],
    ["renamed", "rolling", { shares: [1] }, null],
    ["renamed", "canary", { shares: [0.055, 1] }, "gives the candidate 5.5 % of the new connections"],
    ["renamed", "rolling", { shares: [1 / 3, 2 / 3, 1] }, "gives the candidate 33.33 %"],
    ["renamed", "blue-green", { networks: 1 }, "cannot tell clients apart"],
    ["shared", "recreate", {}, null],
    ["shared", "recreate", { networks: 1 }, "cannot tell clients apart"],
    ["shared", "blue-green", {}, "needs a gate"],
    ["shared", "canary", { shares: [0.05] }, "needs a gate"],
    ["shared", "rolling", { shares: [1] }, "needs a gate"],
  ])("a listener that is %s, for %s with %j: %s", (mode, strategy, demands, reason) => {
    const found = refusal(mode, strategy, demands);
    if (reason === null) expect(found).toBeNull();
    else expect(found).toContain(reason);
  });

  it("a service is refused for the one listener that cannot, which is named", () => {
    const listeners = (["steered", "renamed"] as const).map((mode) => ({ name: mode, mode }) as Listener);
    expect(() => {
      assertSteerable("api", "canary", listeners, { shares: [0.5] });
    }).toThrow(/50 % .* listener renamed of api/u);
  });
});
