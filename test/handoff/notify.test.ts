import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { NotifySocket, parseNotification, type StoreRequest } from "../../handoff/notify.ts";
import { environment, eventually, start } from "../support/processes.ts";
import { expectTableUnchanged, readable } from "./native-support.ts";

expectTableUnchanged();

let folder = "";
let path = "";
const opened: NotifySocket[] = [];
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/notify-`);
  path = `${folder}/notify`;
});
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
  rmSync(folder, { recursive: true });
});

/** Messages as they come, in order. */
class Heard {
  count = 0;
  readonly #messages: string[][] = [];
  #wake: () => void = () => undefined;
  readonly hear = (message: ReadonlyMap<string, string>): void => {
    this.count++;
    this.#messages.push([...message].map(([name, value]) => `${name}=${value}`));
    this.#wake();
  };

  async next(): Promise<string[]> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function open(owner: { uid: number; gid: number } | null = null): Heard {
  const heard = new Heard();
  opened.push(NotifySocket.open(path, owner, heard.hear));
  return heard;
}

function send(text: string | Uint8Array, descriptors: readonly number[] = []): void {
  using client = new Descriptor(native.socket("unix", "dgram", false));
  native.connect(client.fd, { family: "unix", path });
  native.sendMessage(client.fd, Buffer.from(text), descriptors);
}

describe("a notification", () => {
  it("is its assignments, in order", () => {
    const parsed = parseNotification(Buffer.from("READY=1\nSTATUS=a=b c\nERRNO=\nMAINPID=12\n"));
    expect([...parsed]).toEqual([
      ["READY", "1"],
      ["STATUS", "a=b c"],
      ["ERRNO", ""],
      ["MAINPID", "12"],
    ]);
  });

  it.each(["", "READY", "=1", "\n\n", "\0\0", "ready 1"])("%j is none", (text) => {
    expect([...parseNotification(Buffer.from(text))]).toEqual([]);
  });

  it("that is not UTF-8 raises no exception", () => {
    const bytes = Uint8Array.of(0xff, 0xfe, 0x0a, ...Buffer.from("READY=1"));
    expect(parseNotification(bytes).get("READY")).toBe("1");
  });
});

describe("the socket", () => {
  it("hears everyone who has its path, each message once and in order", async () => {
    const heard = open();
    for (let i = 0; i < 100; i++) {
      send(`STATUS=${i}`); // Ten wait in the queue (net.unix.max_dgram_qlen); the next sender waits for us.
      expect(await heard.next()).toEqual([`STATUS=${i}`]);
    }
  });

  it("hears a tool that speaks from a child and has ended before it is read", async () => {
    const heard = open();
    const script = `import socket, os; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])`;
    const tool = start("python3", ["-c", script], { env: environment({ NOTIFY_SOCKET: path }) });
    expect(await tool.exit).toEqual({ code: 0, signal: null });
    expect(await heard.next()).toEqual(["READY=1"]);
  });

  it("answers BARRIER=1 by closing its descriptor, after the message has had its effect", async () => {
    const heard = open();
    const [reader, writer] = native.pipe();
    send("READY=1");
    send("BARRIER=1", [writer]);
    native.close(writer);
    native.setNonblocking(reader, true);
    const barrier = readable(reader); // Its end of file: the other end is closed.
    expect(await heard.next()).toEqual(["READY=1"]);
    expect(await heard.next()).toEqual(["BARRIER=1"]);
    await barrier;
    native.close(reader);
  });

  it("closes every descriptor that nobody takes", async () => {
    const heard = open();
    using file = new Descriptor(native.memfd("stored"));
    send("FDSTORE=1\nFDNAME=x", Array<number>(200).fill(file.fd));
    expect(await heard.next()).toEqual(["FDSTORE=1", "FDNAME=x"]);
  });

  describe("of an application that keeps descriptors", () => {
    /** Each is done when `done` says so. */
    function openStore(): { requests: StoreRequest[]; done: (() => void)[]; heard: Heard } {
      const [requests, done, heard]: [StoreRequest[], (() => void)[], Heard] = [[], [], new Heard()];
      const onStore = (request: StoreRequest): Promise<void> => {
        requests.push(request);
        return new Promise((resolve) => done.push(resolve));
      };
      opened.push(NotifySocket.open(path, null, heard.hear, onStore));
      return { requests, done, heard };
    }

    it.each([
      ["FDSTORE=1", { do: "store", name: "stored", isPolled: true, isTruncated: false }],
      ["FDSTORE=1\nFDNAME=a\nFDPOLL=0", { do: "store", name: "a", isPolled: false }],
      ["FDSTOREREMOVE=1\nFDNAME=a", { do: "remove", name: "a" }],
    ])("understands %j", async (text, request) => {
      const { requests, done, heard } = openStore();
      send(text);
      await heard.next();
      done[0]?.();
      expect(requests).toMatchObject([request]);
    });

    it.each(["FDSTORE=0", "FDSTOREREMOVE=1", "FDNAME=a", "FDPOLL=0"])(
      "takes %j for no request",
      async (text) => {
        const { requests, heard } = openStore();
        send(text);
        await heard.next();
        expect(requests).toEqual([]);
      },
    );

    it("reads nothing, and answers no BARRIER=1, before the request is done; what was taken stays open", async () => {
      const { requests, done, heard } = openStore();
      using file = new Descriptor(native.memfd("kept"));
      const [reader, writer] = native.pipe();
      using barrier = new Descriptor(reader);
      native.setNonblocking(barrier.fd, true);
      send("FDSTORE=1\nFDNAME=a", [file.fd, file.fd]);
      send("BARRIER=1", [writer]);
      native.close(writer);
      expect(await heard.next()).toEqual(["FDSTORE=1", "FDNAME=a"]);
      const [request] = requests;
      if (request?.do !== "store") throw new Error("no request");
      expect(request.descriptors.length).toBe(2);
      using taken = new Descriptor(request.descriptors[0]?.take() ?? -1);
      // Two turns of the loop in which the barrier could have been read.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(native.isHungUp(barrier.fd)).toBe(false);
      done[0]?.();
      expect(await heard.next()).toEqual(["BARRIER=1"]);
      await readable(barrier.fd);
      expect(native.isHungUp(barrier.fd)).toBe(true);
      expect(native.isSameFile(taken.fd, file.fd)).toBe(true);
      expect(request.descriptors[1]?.open).toBe(false);
    });
  });

  describe("that is written to without end", () => {
    /** Whoever says `text` says it again as soon as it is heard. Returns how often it was. */
    function flood(text: string): () => number {
      let said = 0;
      const again = (): void => {
        if (++said < 10_000) send(text);
      };
      opened.push(NotifySocket.open(path, null, again));
      send(text);
      return () => said;
    }

    const turns = async (count: number): Promise<void> => {
      for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
    };

    it("lets everything else have its turn", async () => {
      const said = flood("STATUS=x");
      await turns(3);
      expect(said()).toBeGreaterThan(0);
      expect(said()).toBeLessThanOrEqual(30);
    });

    it("is not read for a while once it has had its time, and then it is again", async () => {
      const said = flood("STOPPING=1");
      await turns(300);
      const before = said();
      expect(before).toBeGreaterThan(100);
      expect(before).toBeLessThan(500);
      await eventually("one more", () => said() > before);
    });
  });

  it("that is paused reads nothing, once the request is done that is under way", async () => {
    const done: (() => void)[] = [];
    const heard = new Heard();
    const onStore = (): Promise<void> => new Promise((resolve) => done.push(resolve));
    const socket = NotifySocket.open(path, null, heard.hear, onStore);
    opened.push(socket);
    send("FDSTORE=1");
    await heard.next();
    let isStill = false;
    const still = socket.pause().then(() => (isStill = true));
    send("READY=1");
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    expect(isStill).toBe(false);
    done[0]?.();
    await still;
    const next = heard.next();
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    expect(heard.count).toBe(1);
    socket.unpause();
    expect(await next).toEqual(["READY=1"]);
  });

  it("goes on after garbage, and after a message of nothing at all", async () => {
    const heard = open();
    send(new Uint8Array(5000).fill(0xff));
    expect(await heard.next()).toEqual([]);
    const script = `import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"", sys.argv[1])`;
    expect((await start("python3", ["-c", script, path]).exit).code).toBe(0);
    expect(await heard.next()).toEqual([]);
    send("READY=1");
    expect(await heard.next()).toEqual(["READY=1"]);
  });

  it("closes what came with a message whose listener has thrown", async () => {
    const caught = new Promise<unknown>((resolve) => {
      const others = process.listeners("uncaughtException");
      process.removeAllListeners("uncaughtException");
      process.once("uncaughtException", (error) => {
        for (const other of others) process.on("uncaughtException", other);
        resolve(error);
      });
    });
    const failing = NotifySocket.open(path, null, () => {
      throw new Error("no");
    });
    opened.push(failing);
    using file = new Descriptor(native.memfd("stored"));
    send("FDSTORE=1", [file.fd]);
    expect(await caught).toMatchObject({ message: "no" });
  });

  it("may be closed by the message that it hears", async () => {
    const heard = new Promise<void>((resolve) => {
      const socket = NotifySocket.open(path, null, () => {
        socket.close();
        resolve();
      });
    });
    send("READY=1");
    await heard;
    expect(() => statSync(path)).toThrow("ENOENT");
  });

  it("is its owner's alone, who can write to it", () => {
    open({ uid: 65534, gid: 65534 });
    const { mode, uid, gid } = statSync(path);
    expect([mode & 0o777, uid, gid]).toEqual([0o600, 65534, 65534]);
    rmSync(path);
    const script = `import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"READY=1", sys.argv[1])`;
    opened.push(NotifySocket.open(path, null, () => undefined));
    spawnSync("chmod", ["0755", folder]);
    const refused = spawnSync("python3", ["-c", script, path], { uid: 65534, encoding: "utf8" });
    expect(refused.stderr).toContain("PermissionError");
  });

  it("replaces what an earlier one has left at its path, and takes it away when it is closed", () => {
    writeFileSync(path, "left");
    open();
    expect(statSync(path).isSocket()).toBe(true);
    opened.splice(0)[0]?.close();
    expect(() => statSync(path)).toThrow("ENOENT");
  });

  it("that was kept while nobody read tells what was sent meanwhile", async () => {
    const kept = new Descriptor(native.socket("unix", "dgram", true));
    native.bind(kept.fd, { family: "unix", path });
    send("STATUS=warm");
    send("READY=1");
    const heard = new Heard();
    opened.push(NotifySocket.resume(path, kept, heard.hear));
    expect([await heard.next(), await heard.next()]).toEqual([["STATUS=warm"], ["READY=1"]]);
  });
});
