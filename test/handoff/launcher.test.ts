/** handoff-exec as a process, spoken to in bytes (docs/wire.md). */
import {
  chmodSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  asText,
  asU32,
  asU64s,
  encodeFields,
  encodeFrame,
  parseFrame,
  textField,
  u32Field,
  type Field,
} from "../../handoff/frame.ts";
import { companion, native, type ExitStatus } from "../../handoff/native.ts";
import { childrenOf, eventually, killOne, waitForExit } from "../support/processes.ts";
import {
  closeAll,
  contentOf,
  endOf,
  expectTableUnchanged,
  readable,
  receive,
  variables,
} from "./native-support.ts";

const GRANT = 1;
const ACK = 2;
const FAIL = 3;
const MORE = 1;
const TOTAL = 1;
const ENTRY = 2;

const RLIMIT_CORE = 4;
const RLIMIT_NOFILE = 7;

const ARGUMENT = 32;
const ENVIRONMENT = 33;
const DIRECTORY = 34;
const UID = 35;
const GID = 36;
const GROUP = 37;
const UMASK = 38;
const LIMIT = 39;
const NICE = 40;
const NO_NEW_PRIVILEGES = 41;
const CHANNEL = 42;
const DEATH_SIGNAL = 43;

expectTableUnchanged();

let nothing = -1;
let output = -1;
let folder = "";
beforeEach(() => {
  nothing = openSync("/dev/null", "r+");
  output = native.memfd("output");
  folder = mkdtempSync(`${tmpdir()}/launcher-`);
});
afterEach(() => {
  closeAll(nothing, output);
  rmSync(folder, { recursive: true });
});

interface Offer {
  readonly name: string;
  readonly fd: number;
}

function identityOf(fd: number): { kind: number; identity: bigint } {
  try {
    return { kind: 1, identity: native.cookie(fd) };
  } catch {
    return { kind: 2, identity: BigInt(fstatSync(fd).ino) };
  }
}

function entry(kind: number, identity: bigint, name: string): Field {
  const text = Buffer.from(name);
  const value = Buffer.alloc(9 + text.length);
  value.writeUInt8(kind, 0);
  value.writeBigUInt64LE(identity, 1);
  value.set(text, 9);
  return { key: ENTRY, value };
}

function limitField(resource: number, soft: bigint, hard: bigint): Field {
  const value = Buffer.alloc(20);
  value.writeUInt32LE(resource, 0);
  value.writeBigUInt64LE(soft, 4);
  value.writeBigUInt64LE(hard, 12);
  return { key: LIMIT, value };
}

const flag = (key: number): Field => ({ key, value: new Uint8Array(0) });

/** A memfd with a specification. `script` runs in /bin/sh. */
function specification(script: string | readonly string[], ...more: readonly Field[]): number {
  const argv = typeof script === "string" ? ["/bin/sh", "-c", script] : script;
  const fields = [...argv.map((argument) => textField(ARGUMENT, argument)), ...more];
  if (!more.some(({ key }) => key === ENVIRONMENT)) fields.push(textField(ENVIRONMENT, "PATH=/usr/bin:/bin"));
  const fd = native.memfd("specification");
  writeSync(fd, encodeFields(fields));
  return fd;
}

function statOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, "latin1");
}

interface Told {
  readonly type: number;
  readonly step: string | null;
  /** Its name. */
  readonly errno: string | undefined;
  readonly text: string | null;
  readonly count: number | null;
  readonly identities: readonly bigint[] | null;
}

/** A started launcher. Every test ends it with `end`. */
class Launcher {
  readonly channel: number;
  readonly pid: number;
  readonly #pidfd: number;

  /** `before` is what a shell does first, in the same process. */
  constructor(before = "") {
    const [ours, theirs] = native.seqpacketPair();
    const file = companion("handoff-exec");
    const argv = before === "" ? [file] : ["/bin/sh", "-c", `${before}; exec ${file}`];
    const child = native.spawn(before === "" ? file : "/bin/sh", argv, variables(), [
      nothing,
      output,
      output,
      theirs,
    ]);
    native.close(theirs);
    this.channel = ours;
    this.pid = child.pid;
    this.#pidfd = child.pidfd;
  }

  send(type: number, fields: readonly Field[], descriptors: readonly number[], flags = 0): void {
    expect(native.sendMessage(this.channel, encodeFrame({ type, flags, fields }), descriptors)).toBe(true);
  }

  /** A whole grant, in frames of at most 250 descriptors. Closes the specification. */
  grant(memfd: number, offers: readonly Offer[] = []): void {
    const all = [
      { fd: memfd, field: entry(0, BigInt(fstatSync(memfd).ino), "") },
      ...offers.map(({ fd, name }) => {
        const { kind, identity } = identityOf(fd);
        return { fd, field: entry(kind, identity, name) };
      }),
    ];
    for (let start = 0; start < all.length; start += 250) {
      const part = all.slice(start, start + 250);
      this.send(
        GRANT,
        [u32Field(TOTAL, all.length), ...part.map(({ field }) => field)],
        part.map(({ fd }) => fd),
        start + part.length < all.length ? MORE : 0,
      );
    }
    native.close(memfd);
  }

  /** The next thing it says. */
  async hears(): Promise<Told> {
    const { bytes, descriptors } = await receive(this.channel);
    expect(descriptors).toEqual([]);
    const frame = parseFrame(bytes);
    if (typeof frame === "string") throw new Error(frame);
    const field = (key: number): Field | undefined => frame.fields.find((one) => one.key === key);
    const errno = asU32(field(6));
    return {
      type: frame.type,
      step: asText(field(5)),
      errno: Object.entries(constants.errno).find(([, number]) => number === errno)?.[0],
      text: asText(field(7)),
      count: asU32(field(3)),
      identities: asU64s(field(4)),
    };
  }

  async end(): Promise<ExitStatus> {
    const status = await endOf({ pid: this.pid, pidfd: this.#pidfd });
    native.close(this.channel);
    return status;
  }
}

/** Grants, expects the acknowledgement and success, and returns what the program wrote. */
async function runs(memfd: number, offers: readonly Offer[] = [], before = ""): Promise<string> {
  const launcher = new Launcher(before);
  launcher.grant(memfd, offers);
  expect(await launcher.hears()).toMatchObject({ type: ACK, count: offers.length });
  expect(await launcher.end(), contentOf(output)).toEqual({ code: 0, signal: null });
  return contentOf(output);
}

/** A launcher that was started by another one, and so is what `fields` make of it. `outer` waits for it. */
async function nested(...fields: readonly Field[]): Promise<{ outer: Launcher; inner: Launcher }> {
  const outer = new Launcher();
  const [ours, theirs] = native.seqpacketPair();
  outer.grant(specification([companion("handoff-exec")], ...fields), [{ name: "channel", fd: theirs }]);
  native.close(theirs);
  expect((await outer.hears()).type).toBe(ACK);
  return { outer, inner: Object.create(outer, { channel: { value: ours } }) as Launcher };
}

/** Grants, and returns what it failed with: before the acknowledgement, or after it. */
async function fails(
  memfd: number,
  offers: readonly Offer[] = [],
): Promise<Pick<Told, "step" | "errno" | "text"> & { acknowledged: boolean }> {
  const launcher = new Launcher();
  launcher.grant(memfd, offers);
  let told = await launcher.hears();
  const acknowledged = told.type === ACK;
  if (acknowledged) told = await launcher.hears();
  expect(told.type).toBe(FAIL);
  expect(await launcher.end()).toEqual({ code: 127, signal: null });
  const { step, errno, text } = told;
  return { step, errno, text, acknowledged };
}

describe("a grant", () => {
  it("is acknowledged with the identities that the launcher itself has read", async () => {
    const [one, other] = native.seqpacketPair();
    const file = native.memfd("file");
    const launcher = new Launcher();
    launcher.grant(specification(["/bin/true"]), [
      { name: "a", fd: one },
      { name: "b", fd: file },
      { name: "again", fd: one },
      { name: "a", fd: other },
    ]);
    expect(await launcher.hears()).toMatchObject({
      type: ACK,
      count: 4,
      identities: [native.cookie(one), BigInt(fstatSync(file).ino), native.cookie(one), native.cookie(other)],
    });
    expect(await launcher.end()).toEqual({ code: 0, signal: null });
    closeAll(one, other, file);
  });

  it("may take its time: the launcher waits between frames", async () => {
    const launcher = new Launcher();
    const memfd = specification("echo started");
    const file = native.memfd("file");
    const [spec, item] = [memfd, file].map((fd) => BigInt(fstatSync(fd).ino)) as [bigint, bigint];
    launcher.send(GRANT, [u32Field(TOTAL, 2), entry(0, spec, "")], [memfd], MORE);
    launcher.send(GRANT, [u32Field(TOTAL, 2), entry(2, item, "file")], [file]);
    expect((await launcher.hears()).type).toBe(ACK);
    expect(await launcher.end()).toEqual({ code: 0, signal: null });
    expect(contentOf(output)).toBe("started\n");
    closeAll(memfd, file);
  });

  it("that never comes leaves nothing: the launcher ends with its channel", async () => {
    const launcher = new Launcher();
    native.shutdown(launcher.channel, "both");
    expect(await launcher.end()).toEqual({ code: 127, signal: null });
  });

  it("whose identity is not that of the descriptor is refused, and the entry named", async () => {
    const [one, other] = native.seqpacketPair();
    for (const wrong of [
      entry(1, native.cookie(other), "web"),
      entry(2, native.cookie(one), "web"),
      entry(2, BigInt(fstatSync(other).ino), "web"),
    ]) {
      const launcher = new Launcher();
      const memfd = specification("echo started");
      const spec = entry(0, BigInt(fstatSync(memfd).ino), "");
      launcher.send(GRANT, [u32Field(TOTAL, 2), spec, wrong], [memfd, one]);
      expect(await launcher.hears()).toMatchObject({
        type: FAIL,
        step: "grant",
        errno: "EBADMSG",
        text: "web",
      });
      expect(await launcher.end()).toEqual({ code: 127, signal: null });
      native.close(memfd);
    }
    expect(contentOf(output)).toBe("");
    closeAll(one, other);
  });

  const spec = (fd: number): Field => entry(0, BigInt(fstatSync(fd).ino), "");
  const item = (fd: number, name = "x"): Field => entry(2, BigInt(fstatSync(fd).ino), name);
  const total = (count: number): Field => u32Field(TOTAL, count);
  type Build = (memfd: number) => { type?: number; fields: Field[]; count: number; flags?: number };
  it.each<[string, Build]>([
    ["no frame of ours", () => ({ type: ACK, fields: [], count: 0 })],
    ["no total", (fd) => ({ fields: [spec(fd)], count: 1 })],
    ["a total of nothing", (fd) => ({ fields: [total(0), spec(fd)], count: 1 })],
    ["an absurd total", (fd) => ({ fields: [total(0xffffffff), spec(fd)], count: 1 })],
    ["two totals", (fd) => ({ fields: [total(1), total(1), spec(fd)], count: 1 })],
    ["fewer descriptors than entries", (fd) => ({ fields: [total(2), spec(fd), item(fd)], count: 1 })],
    ["more descriptors than entries", (fd) => ({ fields: [total(1), spec(fd)], count: 2 })],
    ["fewer than announced", (fd) => ({ fields: [total(3), spec(fd), item(fd)], count: 2 })],
    ["more than announced", (fd) => ({ fields: [total(1), spec(fd), item(fd)], count: 2 })],
    ["more to come when all is there", (fd) => ({ fields: [total(1), spec(fd)], count: 1, flags: MORE })],
    ["no entry at all", () => ({ fields: [total(1)], count: 0 })],
    ["no specification first", (fd) => ({ fields: [total(2), item(fd), item(fd)], count: 2 })],
    ["two specifications", (fd) => ({ fields: [total(2), spec(fd), spec(fd)], count: 2 })],
    ["an unknown kind", (fd) => ({ fields: [total(2), spec(fd), entry(3, 1n, "x")], count: 2 })],
    [
      "a name that would split LISTEN_FDNAMES",
      (fd) => ({ fields: [total(2), spec(fd), item(fd, "a:b")], count: 2 }),
    ],
    ["a name with NUL", (fd) => ({ fields: [total(2), spec(fd), item(fd, "a\0b")], count: 2 })],
    [
      "a name that is too long",
      (fd) => ({ fields: [total(2), spec(fd), item(fd, "x".repeat(256))], count: 2 }),
    ],
    ["a field of another message", (fd) => ({ fields: [total(1), spec(fd), u32Field(3, 1)], count: 1 })],
  ])("with %s is refused, and nothing is started", async (_, build) => {
    const launcher = new Launcher();
    const memfd = specification("echo started");
    const { type = GRANT, fields, count, flags = 0 } = build(memfd);
    launcher.send(
      type,
      fields,
      Array.from({ length: count }, () => memfd),
      flags,
    );
    expect(await launcher.hears()).toMatchObject({ type: FAIL, step: "grant", errno: "EPROTO" });
    expect(await launcher.end()).toEqual({ code: 127, signal: null });
    expect(contentOf(output)).toBe("");
    native.close(memfd);
  });

  it.each([1, 11, 12, 13, 19, 20, 1000])("of %i bytes of garbage is refused", async (length) => {
    const launcher = new Launcher();
    native.sendMessage(launcher.channel, new Uint8Array(length).fill(0x48), [nothing]);
    expect(await launcher.hears()).toMatchObject({ type: FAIL, step: "grant", errno: "EPROTO" });
    expect(await launcher.end()).toEqual({ code: 127, signal: null });
  });

  it("whose descriptors were lost to RLIMIT_NOFILE is refused as such", async () => {
    const launcher = new Launcher("ulimit -n 20");
    launcher.grant(
      specification("echo started"),
      Array.from({ length: 50 }, (_, i) => ({ name: `${i}`, fd: output })),
    );
    expect(await launcher.hears()).toMatchObject({ type: FAIL, step: "grant", errno: "EMFILE" });
    expect(await launcher.end()).toEqual({ code: 127, signal: null });
  });
});

describe("the specification", () => {
  it.each<[string, Field[]]>([
    ["no program", []],
    ["an empty program", [textField(ARGUMENT, "")]],
    ["NUL in an argument", [textField(ARGUMENT, "/bin/true\0")]],
    ["a variable without =", [textField(ARGUMENT, "/bin/true"), textField(ENVIRONMENT, "A")]],
    ["a variable without a name", [textField(ARGUMENT, "/bin/true"), textField(ENVIRONMENT, "=1")]],
    ["a relative directory", [textField(ARGUMENT, "/bin/true"), textField(DIRECTORY, "srv")]],
    ["a uid of two bytes", [textField(ARGUMENT, "/bin/true"), { key: UID, value: new Uint8Array(2) }]],
    ["a uid that means leave it", [textField(ARGUMENT, "/bin/true"), u32Field(UID, 0xffffffff)]],
    ["two uids", [textField(ARGUMENT, "/bin/true"), u32Field(UID, 1), u32Field(UID, 0)]],
    ["a short limit", [textField(ARGUMENT, "/bin/true"), { key: LIMIT, value: new Uint8Array(12) }]],
    ["an unknown limit", [textField(ARGUMENT, "/bin/true"), limitField(99, 1n, 1n)]],
    ["a umask beyond 0777", [textField(ARGUMENT, "/bin/true"), u32Field(UMASK, 0o1000)]],
    ["a flag with a value", [textField(ARGUMENT, "/bin/true"), u32Field(NO_NEW_PRIVILEGES, 1)]],
    ["a death signal of nothing", [textField(ARGUMENT, "/bin/true"), u32Field(DEATH_SIGNAL, 0)]],
    ["a death signal that is none", [textField(ARGUMENT, "/bin/true"), u32Field(DEATH_SIGNAL, 65)]],
    ["an empty death signal", [textField(ARGUMENT, "/bin/true"), flag(DEATH_SIGNAL)]],
    [
      "two death signals",
      [textField(ARGUMENT, "/bin/true"), u32Field(DEATH_SIGNAL, 15), u32Field(DEATH_SIGNAL, 15)],
    ],
    ["an unknown key", [textField(ARGUMENT, "/bin/true"), u32Field(99, 1)]],
  ])("with %s is refused", async (_, fields) => {
    const memfd = native.memfd("specification");
    writeSync(memfd, encodeFields(fields));
    expect(await fails(memfd)).toMatchObject({ step: "specification", errno: "EPROTO", acknowledged: false });
  });

  it("that is cut off, or no file, is refused", async () => {
    const cut = native.memfd("specification");
    writeSync(cut, encodeFields([textField(ARGUMENT, "/bin/true")]).subarray(0, 12));
    expect(await fails(cut)).toMatchObject({ step: "specification", errno: "EPROTO", acknowledged: false });
    const [reader, writer] = native.pipe();
    expect(await fails(reader)).toMatchObject({ step: "specification", errno: "EPROTO" });
    native.close(writer);
  });
});

describe("the program", () => {
  it("finds its descriptors at 3, 4, … by name, LISTEN_PID is its pid, and nothing else is inherited", async () => {
    const [one, other] = native.seqpacketPair();
    const file = native.memfd("file");
    const text = await runs(
      specification(
        'echo "$LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID == $$)) ${HANDOFF_FD-none} $A"; exec ls -l /proc/self/fd',
        textField(ENVIRONMENT, "PATH=/usr/bin:/bin"),
        textField(ENVIRONMENT, "A=ä b"),
        textField(ENVIRONMENT, "LISTEN_PID=1"),
        textField(ENVIRONMENT, "HANDOFF_FD=77"),
      ),
      [
        { name: "web", fd: one },
        { name: "store", fd: file },
        { name: "web", fd: one },
      ],
      "exec 9</etc/passwd", // One that the launcher itself was given by mistake.
    );
    const [first = "", ...rest] = text.split("\n");
    expect(first).toBe("3 web:store:web 1 none ä b");
    const found = [...rest.join("\n").matchAll(/ (\d+) -> (\S+)/g)].map(([, fd, target]) => [
      Number(fd),
      target,
    ]);
    const socket = `socket:[${fstatSync(one).ino}]`;
    expect(found.slice(0, 6)).toEqual([
      [0, "/dev/null"],
      [1, "/memfd:output"],
      [2, "/memfd:output"],
      [3, socket],
      [4, "/memfd:file"],
      [5, socket],
    ]);
    expect(found).toHaveLength(7); // The last is the folder that ls reads.
    closeAll(one, other, file);
  });

  it("has exactly the environment of the specification, without LISTEN_* where there is no descriptor", async () => {
    const text = await runs(
      specification(["/usr/bin/env"], textField(ENVIRONMENT, "B=2"), textField(ENVIRONMENT, "LISTEN_FDS=9")),
    );
    expect(text).toBe("B=2\n");
  });

  it("gets 600 descriptors, in order", async () => {
    const files = Array.from({ length: 600 }, (_, i) => native.memfd(`file-${i}`));
    const text = await runs(
      specification("echo $LISTEN_FDS; exec readlink /proc/self/fd/3 /proc/self/fd/300 /proc/self/fd/602"),
      files.map((fd, i) => ({ name: `n${i}`, fd })),
    );
    expect(text).toBe("600\n/memfd:file-0 (deleted)\n/memfd:file-297 (deleted)\n/memfd:file-599 (deleted)\n");
    closeAll(...files);
  });

  it("keeps the channel as HANDOFF_FD, after the last descriptor, where it asked for it", async () => {
    const launcher = new Launcher();
    const file = native.memfd("file");
    const script = "import os; os.write(int(os.environ['HANDOFF_FD']), os.environ['HANDOFF_FD'].encode())";
    launcher.grant(specification(["python3", "-c", script], flag(CHANNEL)), [{ name: "file", fd: file }]);
    expect((await launcher.hears()).type).toBe(ACK);
    expect(Buffer.from((await receive(launcher.channel)).bytes).toString()).toBe("4");
    expect(await launcher.end()).toEqual({ code: 0, signal: null });
    native.close(file);
  });

  it("closes the channel by its exec where it did not: the end of file says that it runs", async () => {
    const launcher = new Launcher();
    const [reader, writer] = native.pipe();
    launcher.grant(specification("cat <&3"), [{ name: "input", fd: reader }]);
    native.close(reader);
    expect((await launcher.hears()).type).toBe(ACK);
    await readable(launcher.channel);
    expect(native.receiveMessage(launcher.channel, Buffer.alloc(10), 0)).toMatchObject({ length: 0 });
    native.close(writer); // It was still running: only now cat has its end of file.
    expect(await launcher.end()).toEqual({ code: 0, signal: null });
  });

  it("has the limits, umask, nice value, user, groups, directory and no_new_privs of the specification", async () => {
    mkdirSync(`${folder}/work`, { mode: 0o755 });
    chmodSync(folder, 0o755);
    const text = await runs(
      specification(
        "cat /proc/self/status /proc/self/limits; nice; pwd; umask",
        limitField(RLIMIT_NOFILE, 100n, 200n),
        limitField(RLIMIT_CORE, 0n, 0n),
        u32Field(UMASK, 0o27),
        u32Field(NICE, 5),
        u32Field(UID, 4711),
        u32Field(GID, 4712),
        u32Field(GROUP, 4713),
        u32Field(GROUP, 4714),
        flag(NO_NEW_PRIVILEGES),
        textField(DIRECTORY, `${folder}/work`),
      ),
    );
    expect(text).toMatch(/^Uid:\t4711\t4711\t4711\t4711$/m);
    expect(text).toMatch(/^Gid:\t4712\t4712\t4712\t4712$/m);
    expect(text).toMatch(/^Groups:\t4713 4714 ?$/m);
    expect(text).toMatch(/^CapEff:\t0+$/m);
    expect(text).toMatch(/^CapPrm:\t0+$/m);
    expect(text).toMatch(/^NoNewPrivs:\t1$/m);
    expect(text).toMatch(/^Umask:\t0027$/m);
    expect(text).toMatch(/^Max open files +100 +200 /m);
    expect(text).toMatch(/^Max core file size +0 +0 /m);
    expect(text.trim().split("\n").slice(-3)).toEqual(["5", `${folder}/work`, "0027"]);
  });

  it("has no supplementary group of the daemon's where its user was changed and none was named", async () => {
    const { outer, inner } = await nested(u32Field(GROUP, 4713), u32Field(GROUP, 4714));
    inner.grant(specification("cat /proc/self/status", u32Field(UID, 4711), u32Field(GID, 4712)));
    expect((await inner.hears()).type).toBe(ACK);
    expect(await outer.end()).toEqual({ code: 0, signal: null });
    expect(contentOf(output)).toMatch(/^Groups:\t ?$/m);
    native.close(inner.channel);
  });

  it("is as the daemon is where nothing was asked", async () => {
    const text = await runs(specification("cat /proc/self/status; nice; pwd"));
    expect(text).toMatch(/^NoNewPrivs:\t0$/m);
    expect(text).toMatch(/^Uid:\t(\d+)\t\1\t\1\t\1$/m);
    expect(text.trim().split("\n").slice(-2)).toEqual(["0", process.cwd()]);
  });

  it("is searched along the PATH of its own environment", async () => {
    writeFileSync(`${folder}/its-own`, "#!/bin/sh\necho found\n", { mode: 0o755 });
    const path = textField(ENVIRONMENT, `PATH=/nonexistent:${folder}`);
    expect(await runs(specification(["its-own"], path))).toBe("found\n");
  });
});

describe("when its parent ends, the program", () => {
  const { SIGUSR1, SIGUSR2 } = constants.signals;

  /** A launcher whose parent is a shell that waits for it: `pid` and `end` are the shell's. */
  const ofAShell = (): Launcher => new Launcher(`${companion("handoff-exec")} & wait; exit`);

  /** Says its pid, and the number of the first signal that it gets. */
  const waits = (...fields: readonly Field[]): number =>
    specification(
      [
        "python3",
        "-c",
        `import os, signal
def tell(number, frame):
  print(number, flush=True)
  os._exit(0)
for number in (${SIGUSR1}, ${SIGUSR2}): signal.signal(number, tell)
print(os.getpid(), flush=True)
while True: signal.pause()`,
      ],
      ...fields,
    );

  /** Starts it under a shell, ends the shell, and returns the program's pid. */
  async function orphaned(memfd: number): Promise<number> {
    const launcher = ofAShell();
    launcher.grant(memfd);
    expect((await launcher.hears()).type).toBe(ACK);
    await eventually("the program's pid", () => contentOf(output).endsWith("\n"));
    const pid = Number(contentOf(output));
    killOne(launcher.pid);
    expect((await launcher.end()).signal).toBe(constants.signals.SIGKILL);
    return pid;
  }

  it("gets its death signal, whoever it runs as", async () => {
    const who = [u32Field(UID, 4711), u32Field(GID, 4711)];
    const pid = await orphaned(waits(u32Field(DEATH_SIGNAL, SIGUSR1), ...who));
    await waitForExit(pid);
    expect(contentOf(output)).toBe(`${pid}\n${SIGUSR1}\n`);
  });

  it("gets nothing where it has none", async () => {
    const pid = await orphaned(waits());
    // Of two that are pending the lower number is told first, so the other one was not sent before.
    process.kill(pid, SIGUSR2);
    await waitForExit(pid);
    expect(contentOf(output)).toBe(`${pid}\n${SIGUSR2}\n`);
  });

  it("is not started when the channel is at its end by then", async () => {
    const launcher = new Launcher("kill -STOP $$");
    launcher.grant(specification("echo started", u32Field(DEATH_SIGNAL, SIGUSR1)));
    // The daemon's end, but that it still hears the acknowledgement.
    native.shutdown(launcher.channel, "write");
    await eventually("the launcher to wait", () => /^\d+ \(sh\) T /.test(statOf(launcher.pid)));
    process.kill(launcher.pid, "SIGCONT");
    expect((await launcher.hears()).type).toBe(ACK);
    expect(await launcher.end()).toEqual({ code: 127, signal: null });
    expect(contentOf(output)).toBe("");
  });

  it("is not started when its launcher has another parent by then", async () => {
    const launcher = ofAShell();
    const [pid = 0] = await eventually("the launcher to wait for its grant", () => {
      const found = childrenOf(launcher.pid);
      return found.some((child) => /^\d+ \(handoff-exec\) S /.test(statOf(child))) && found;
    });
    killOne(launcher.pid);
    await waitForExit(launcher.pid);
    launcher.grant(specification("echo started", u32Field(DEATH_SIGNAL, SIGUSR1)));
    expect((await launcher.hears()).type).toBe(ACK);
    await waitForExit(pid);
    expect(contentOf(output)).toBe("");
    await launcher.end();
  });
});

describe("a failure after the acknowledgement says its step, its errno and what it was about", () => {
  it("exec: a missing program, one that must not be executed, one that is none", async () => {
    const path = textField(ENVIRONMENT, `PATH=${folder}`);
    writeFileSync(`${folder}/forbidden`, "#!/bin/sh\n", { mode: 0o644 });
    expect(await fails(specification(["/nonexistent/app"]))).toEqual({
      step: "exec",
      errno: "ENOENT",
      text: "/nonexistent/app",
      acknowledged: true,
    });
    expect(await fails(specification(["absent"], path))).toMatchObject({ errno: "ENOENT", text: "absent" });
    expect(await fails(specification(["forbidden"], path))).toMatchObject({
      errno: "EACCES",
      text: "forbidden",
    });
    expect(await fails(specification([folder]))).toMatchObject({ errno: "EACCES", text: folder });
  });

  it("exec: a program that is there and whose interpreter is not", async () => {
    const script = `${folder}/script`;
    writeFileSync(script, "#! /nonexistent/interpreter -x\n", { mode: 0o755 });
    const expected = {
      step: "exec",
      errno: "ENOENT",
      text: `/nonexistent/interpreter, the interpreter of ${script}`,
      acknowledged: true,
    };
    expect(await fails(specification([script]))).toEqual(expected);
    const path = textField(ENVIRONMENT, `PATH=/nonexistent:${folder}`);
    expect(await fails(specification(["script"], path))).toEqual(expected);

    // A dynamic program of another C library: its interpreter is in the file.
    const program = readFileSync(process.execPath).subarray(0, 4096);
    const at = program.indexOf("/lib64/ld-");
    if (at > 0) {
      program.write("/nolib/", at, "latin1");
      writeFileSync(`${folder}/dynamic`, program, { mode: 0o755 });
      const { errno, text } = await fails(specification([`${folder}/dynamic`]));
      expect([errno, text]).toEqual([
        "ENOENT",
        expect.stringMatching(/^\/nolib\/.*, the interpreter of /) as string,
      ]);
    }
  });

  it("directory: missing, or not for this user", async () => {
    expect(await fails(specification("true", textField(DIRECTORY, "/nonexistent/place")))).toEqual({
      step: "directory",
      errno: "ENOENT",
      text: "/nonexistent/place",
      acknowledged: true,
    });
    const fields = [u32Field(UID, 4711), u32Field(GID, 4711), textField(DIRECTORY, folder)];
    expect(await fails(specification("true", ...fields))).toMatchObject({
      step: "directory",
      errno: "EACCES",
    });
  });

  it("limits: above what is allowed", async () => {
    expect(await fails(specification("true", limitField(RLIMIT_NOFILE, 2n, 1n)))).toMatchObject({
      step: "limits",
      errno: "EINVAL",
      text: "limit 7",
    });
  });

  it("descriptors: more than its limit allows", async () => {
    const offers = Array.from({ length: 20 }, (_, i) => ({ name: `${i}`, fd: output }));
    expect(await fails(specification("true", limitField(RLIMIT_NOFILE, 10n, 10n)), offers)).toMatchObject({
      step: "descriptors",
      errno: "EMFILE",
    });
  });

  it("identity and priority: without the right to change them", async () => {
    const attempt = async (...fields: Field[]): Promise<Told> => {
      const { outer, inner } = await nested(u32Field(UID, 65534), u32Field(GID, 65534));
      inner.grant(specification("true", ...fields));
      let told = await inner.hears();
      if (told.type === ACK) told = await inner.hears();
      expect(await outer.end()).toEqual({ code: 127, signal: null });
      native.close(inner.channel);
      return told;
    };
    expect(await attempt(u32Field(UID, 0))).toMatchObject({ step: "identity", errno: "EPERM", text: "uid" });
    expect(await attempt(u32Field(GID, 0))).toMatchObject({ step: "identity", errno: "EPERM", text: "gid" });
    expect(await attempt(u32Field(GROUP, 0))).toMatchObject({
      step: "identity",
      errno: "EPERM",
      text: "groups",
    });
    expect(await attempt(u32Field(NICE, 0xffff_fff0))).toMatchObject({ step: "priority", errno: "EACCES" });
  });
});

it("started by hand, the launcher says that it needs a channel", async () => {
  const child = native.spawn(companion("handoff-exec"), ["handoff-exec"], variables(), [
    nothing,
    output,
    output,
  ]);
  expect(await endOf(child)).toEqual({ code: 127, signal: null });
  expect(contentOf(output)).toContain("descriptor 3 is not a channel");
});
