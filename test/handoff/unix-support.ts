/** What the tests of unix listeners share: a folder of their own, and connections. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import type { Listener, ListenerOptions } from "../../handoff/listener.ts";
import { native } from "../../handoff/native.ts";
import { UnixListener } from "../../handoff/unix-listener.ts";
import { acceptAll, options, tracked } from "./listener-support.ts";

/** A folder for each test. */
export function temporaryFolder(): { readonly path: string } {
  const folder = { path: "" };
  beforeEach(() => {
    folder.path = mkdtempSync(`${tmpdir()}/unix-`);
  });
  afterEach(() => {
    rmSync(folder.path, { recursive: true });
  });
  return folder;
}

/** A listener at `path` with `slots` slots, which "test/0", "test/1", … have. */
export async function openUnix(
  path: string,
  slots = 1,
  more: Partial<ListenerOptions> = {},
): Promise<UnixListener> {
  const listener = tracked(await UnixListener.open(options(`unix:${path}`, more), path));
  const [first] = listener.slots;
  if (slots > 0 && first !== undefined) first.owner = "test/0";
  for (let i = 1; i < slots; i++) await listener.take(`test/${i}`);
  return listener;
}

export function dialUnix(path: string): Descriptor {
  const client = new Descriptor(native.socket("unix", "stream", false));
  try {
    native.connect(client.fd, { family: "unix", path });
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}

/** How many of `n` connections to `path` each slot gets. */
export function spreadUnix(listener: Listener, n: number, path = listener.address): number[] {
  const clients = Array.from({ length: n }, () => dialUnix(path));
  const counts = acceptAll(listener.slots.map(({ fd }) => fd));
  for (const client of clients) client.close();
  return counts;
}

/** The path that reaches a slot whatever the weights. */
export function pathOf(listener: Listener, slot: number): string {
  const found = listener.slots[slot];
  const target = found === undefined ? null : listener.probe(found);
  if (target?.kind !== "unix") throw new Error("no such slot");
  return target.path;
}
