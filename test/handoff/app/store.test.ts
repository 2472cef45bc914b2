/** Descriptors that an application stores: what it says to NOTIFY_SOCKET, and what the next process finds. */
import { mkdtempSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { native, SCM_MAX_FD } from "../../../handoff/native.ts";
import { fixture, root } from "../../support/paths.ts";
import { end, environment, eventually, start } from "../../support/processes.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
vi.setConfig({ testTimeout: 60_000 });

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/store-`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("are sent with their names, let go of by their names, and found by the next one beside its listeners", async () => {
  using manager = new Descriptor(native.socket("unix", "dgram", true));
  native.bind(manager.fd, { family: "unix", path: `${folder}/notify` });
  const one = start(process.execPath, [fixture("stores.mjs")], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment({ NOTIFY_SOCKET: `${folder}/notify` }),
  });
  const said: { text: string; descriptors: Descriptor[] }[] = [];
  try {
    await eventually("all that it says", () => {
      const buffer = new Uint8Array(1000);
      const found = native.receiveMessage(manager.fd, buffer, SCM_MAX_FD);
      if (found !== null) {
        const text = Buffer.from(buffer.subarray(0, found.length)).toString();
        said.push({ text, descriptors: found.descriptors.map((fd) => new Descriptor(fd)) });
      }
      return said.length === 5;
    });
    expect(said.map(({ text, descriptors }) => [text, descriptors.length])).toEqual([
      ["FDSTORE=1\nFDPOLL=0\nFDNAME=cache", 1],
      ["FDSTORE=1\nFDPOLL=0\nFDNAME=session 7", 1],
      ["FDSTOREREMOVE=1\nFDNAME=cache", 0],
      ["EXTEND_TIMEOUT_USEC=1500000", 0],
      ["STATUS=refused: APP_STORE_NAME", 0],
    ]);
    const [cache, session] = said.flatMap(({ descriptors }) => descriptors);
    if (cache === undefined || session === undefined) throw new Error("unreachable");
    const text = Buffer.alloc(20);
    expect(text.toString("utf8", 0, readSync(cache.fd, text, 0, 20, 0))).toBe("what it knew");

    // As a service manager gives them: a listener first, then what was stored.
    using listener = new Descriptor(native.socket("inet", "stream", true));
    native.bind(listener.fd, { family: "inet", host: "127.0.0.1", port: 0 });
    native.listen(listener.fd, 10);
    const words = [
      `${root}/test/fixtures/by-hand.py`,
      "nonblocking",
      process.execPath,
      fixture("stores.mjs"),
    ];
    const two = start("python3", words, {
      stdio: ["ignore", "pipe", "inherit", listener.fd, cache.fd, session.fd],
      env: environment({ LISTEN_FDS: "3", LISTEN_FDNAMES: "web:cache:session 7" }),
    });
    let printed = "";
    two.child.stdout?.on("data", (data: Buffer) => (printed += data.toString()));
    await two.exit;
    expect(JSON.parse(printed)).toEqual({
      listeners: [{ name: "web", fd: 3 }],
      stored: [
        { name: "cache", fd: 4 },
        { name: "session 7", fd: 5 },
      ],
      cache: "what it knew",
      left: [],
    });
  } finally {
    await end(one);
    for (const { descriptors } of said) for (const descriptor of descriptors) descriptor.close();
  }
});

it("what is no descriptor is refused before anything is said", async () => {
  const { store } = await import("../../../handoff/app.ts");
  await expect(store("cache", -1)).rejects.toThrow(TypeError);
  await expect(store("a:b", 0)).rejects.toMatchObject({ code: "APP_STORE_NAME" });
});
