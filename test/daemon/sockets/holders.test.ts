import { describe, expect, it, vi } from "vitest";
import { lookOnce } from "../../../daemon/sockets/holders.ts";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { native } from "../../../handoff/native.ts";

describe("who holds what a start found", () => {
  it("is looked up once for all who ask, in the slots and the given sockets, and in nothing else", async () => {
    using slot = new Descriptor(native.socket("inet", "stream", true));
    using given = new Descriptor(native.socket("inet", "stream", true));
    using channel = new Descriptor(native.socket("inet", "stream", true));
    const except = vi.fn(() => new Set<number>());
    const kept = new Map([
      ["slot/web/0", slot],
      ["channel/api/1/1", channel],
    ]);
    const look = lookOnce(kept, [{ descriptor: given }], except);
    expect(except).not.toHaveBeenCalled();
    const found = await look();
    expect(new Set(found.keys())).toEqual(new Set([slot.inode(), given.inode()]));
    expect(found.get(slot.inode())).toEqual([expect.objectContaining({ pid: process.pid })]);
    expect(await look()).toBe(found);
    expect(except).toHaveBeenCalledOnce();
  });

  it("leaves out those who hold them for the daemon, and looks nowhere where nothing was found", async () => {
    using slot = new Descriptor(native.socket("inet", "stream", true));
    const own = (): Set<number> => new Set([process.pid]);
    expect(await lookOnce(new Map([["slot/web/0", slot]]), [], own)()).toEqual(new Map());
    const except = vi.fn(own);
    expect(await lookOnce(new Map(), [], except)()).toEqual(new Map());
    expect(except).not.toHaveBeenCalled();
  });
});
