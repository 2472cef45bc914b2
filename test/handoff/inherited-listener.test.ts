import { afterEach, describe, expect, it } from "vitest";
import { parseAddress } from "../../handoff/address.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { openInherited, resumeInherited } from "../../handoff/inherited-listener.ts";
import { NO_KEEPER } from "../../handoff/keeper.ts";
import type { Listener, ListenerOptions } from "../../handoff/listener.ts";
import { native, SO } from "../../handoff/native.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

const open: Listener[] = [];
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.close();
});

const OPTIONS: ListenerOptions = {
  name: "web",
  address: parseAddress("systemd:web"),
  backlog: 16,
  mode: null,
  gid: null,
  nextMark: null,
  keeper: () => NO_KEEPER,
  alwaysPinned: true,
  holderOf: () => null,
};

/** A socket as a .socket unit has it. `reusePort`: before it is bound, when it listens already, or not at all. */
function socket(reusePort: "bound" | "late" | "no"): Descriptor {
  const descriptor = new Descriptor(native.socket("inet", "stream", false));
  const reuse = (): void => native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
  if (reusePort === "bound") reuse();
  native.bind(descriptor.fd, { family: "inet", host: "127.0.0.1", port: 0 });
  native.listen(descriptor.fd, 5);
  if (reusePort === "late") reuse();
  return descriptor;
}

async function opened(descriptor: Descriptor): Promise<Listener> {
  const listener = await openInherited(OPTIONS, descriptor);
  open.push(listener);
  return listener;
}

describe("an inherited socket", () => {
  it("that was bound with SO_REUSEPORT is the first slot of a steered listener", async () => {
    const listener = await opened(socket("bound"));
    expect(listener.mode).toBe("steered");
    const slot = await listener.take("api/1");
    expect(slot.index).toBe(1);
    await listener.prove(slot);
    expect(listener.slots.map(({ queue }) => queue.limit)).toEqual([16, 16]);
  });

  it.each(["no", "late"] as const)("is shared when its SO_REUSEPORT came %s", async (reusePort) => {
    const listener = await opened(socket(reusePort));
    expect(listener).toMatchObject({ mode: "shared", protocol: "tcp" });
    expect(await listener.take("api/1")).toBe(listener.slots[0]);
    expect(listener.address).toMatch(/^127\.0\.0\.1:\d+$/u);
  });

  it("of the unix kind is shared", async () => {
    const descriptor = new Descriptor(native.socket("unix", "stream", false));
    native.bind(descriptor.fd, { family: "unix", path: `\0inherited-${process.pid}` });
    native.listen(descriptor.fd, 5);
    const listener = await opened(descriptor);
    expect(listener).toMatchObject({
      mode: "shared",
      protocol: "unix",
      address: `@inherited-${process.pid}`,
    });
  });

  it("that does not listen is refused, and closed", async () => {
    const descriptor = new Descriptor(native.socket("unix", "dgram", false));
    await expect(openInherited(OPTIONS, descriptor)).rejects.toMatchObject({
      code: "LISTENER_CANNOT_OPEN",
      message: expect.stringContaining("use ListenStream= and Accept=no") as string,
    });
    expect(descriptor.open).toBe(false);
  });

  it.each([
    ["bound", "steered"],
    ["no", "shared"],
  ] as const)("bound so: %s, is %s again after a recovery", async (reusePort, mode) => {
    const listener = resumeInherited(OPTIONS, [socket(reusePort)], {
      shares: [{ slot: 0, share: 1 }],
      sticky: null,
      guests: null,
    });
    expect(listener.mode).toBe(mode);
    await listener.close();
  });
});
