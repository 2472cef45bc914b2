/** Who accepts on a slot is proved by where a connection turns up; not everyone who may take it is the candidate. */
import type { Readable } from "node:stream";
import { once } from "node:events";
import { afterEach, expect, it } from "vitest";
import { proveAccepting } from "../../../daemon/proof/acceptance.ts";
import { end, start, type Process } from "../../support/processes.ts";
import { closeListeners, openTcp } from "../../handoff/listener-support.ts";
import type { Slot } from "../../../handoff/slot.ts";

closeListeners();

const children: Process[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) await end(child);
});

/** Takes connections from a slot, the first or all of them, and says so with a line each. */
function taker(slot: Slot, which: "first" | "all"): Process {
  const script = `
    const server = require("net").createServer((socket) => {
      socket.on("error", () => {}).resume();
      if (${which === "first"}) server.close();
      console.log("taken");
    });
    server.listen({ fd: 3 });
    setTimeout(() => process.exit(70), 60_000);`;
  const child = start(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit", slot.fd] });
  children.push(child);
  return child;
}

it("asks again when someone else took the connection and keeps it: an acceptor has the current generation's slots too", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 1);
  const slot = listener.slots[0] as Slot;
  const pids: number[] = [];
  const other = taker(slot, "first");
  const candidate = { name: "api/2", pids: () => pids };
  const signal = AbortSignal.timeout(20_000);
  const proof = proveAccepting(listener, slot, candidate, () => performance.now() + 10_000, signal);
  await once(other.child.stdout as Readable, "data");
  pids.push(taker(slot, "all").pid);
  await expect(proof).resolves.toBeUndefined();
});
