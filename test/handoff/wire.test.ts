/** The two implementations of the wire, frame.ts and frame.h, against each other (docs/wire.md). */
import { execFileSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Channel } from "../../handoff/channel.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { encodeFrame, parseFrame, type Frame } from "../../handoff/frame.ts";
import { launch } from "../../handoff/launch.ts";
import { listFrame, parseMessage, putFrame, removeFrame } from "../../handoff/messages.ts";
import { native } from "../../handoff/native.ts";
import { KeeperProcess } from "../../handoff/keeper.ts";
import { root } from "../support/paths.ts";
import { environment } from "../support/processes.ts";
import { contentOf, expectTableUnchanged, readable, receive } from "./native-support.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/wire-`);
  execFileSync("cc", [
    ...["-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    `-I${root}/handoff/native`,
    `${root}/test/handoff/frame-verdicts.c`,
    ...["-o", `${folder}/verdicts`],
  ]);
});
afterAll(() => rmSync(folder, { recursive: true }));

expectTableUnchanged();

/** What frame.h makes of each. It is built with sanitizers: reading past the end would end it. */
function verdictsInC(all: readonly Uint8Array[]): string[] {
  const input = Buffer.concat(
    all.flatMap((bytes) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
  const output = execFileSync(`${folder}/verdicts`, { input, maxBuffer: 1 << 28, encoding: "utf8" });
  return output.split("\n").slice(0, -1);
}

function verdict(bytes: Uint8Array): string {
  const parsed = parseFrame(bytes);
  if (typeof parsed === "string") return "-";
  const fields = parsed.fields.map(({ key, value }) => ` ${key}:${Buffer.from(value).toString("hex")}`);
  return `${parsed.type} ${parsed.flags}${fields.join("")}`;
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const octet = fc.integer({ min: 0, max: 255 });
const frame: fc.Arbitrary<Frame> = fc.record({
  type: fc.oneof(fc.integer({ min: 0, max: 24 }), u16),
  flags: fc.constantFrom(0, 0, 1, 2, 0x8001),
  fields: fc.array(fc.record({ key: u16, value: fc.uint8Array({ maxLength: 30 }) }), { maxLength: 5 }),
});
const intact = frame.map((one) => encodeFrame(one));
const damaged = fc
  .tuple(intact, fc.array(fc.tuple(fc.nat(), octet), { maxLength: 3 }), fc.integer({ min: -12, max: 12 }))
  .map(([bytes, changes, by]) => {
    const made = new Uint8Array(Math.max(0, bytes.length + by));
    made.set(bytes.subarray(0, made.length));
    for (const [at, value] of changes) if (made.length > 0) made[at % made.length] = value;
    return made;
  });

it("both say the same of every frame, of damaged ones and of arbitrary bytes, and neither reads past the end", () => {
  const all = [
    ...fc.sample(intact, 2000),
    ...fc.sample(damaged, 5000),
    ...fc.sample(fc.uint8Array({ maxLength: 60 }), 1000),
  ];
  const mine = all.map((bytes) => verdict(bytes));
  expect(verdictsInC(all)).toEqual(mine);
  // Both kinds were among them.
  expect(mine.filter((one) => one === "-").length).toBeGreaterThan(1000);
  expect(mine.filter((one) => one !== "-").length).toBeGreaterThan(1000);
});

const name = fc
  .string({ unit: "binary", minLength: 1, maxLength: 63 })
  .filter((one) => Buffer.byteLength(one) <= 255);

it("the keeper takes every request that we write, and we read every list that it writes", async () => {
  const nothing = openSync("/dev/null", "r+");
  const keeper = KeeperProcess.start(`${folder}/keeper.sock`, [nothing, nothing, nothing]);
  const fd = native.socket("unix", "seqpacket", true);
  native.connect(fd, { family: "unix", path: `${folder}/keeper.sock` });
  const ask = async (bytes: Uint8Array, count = 0): Promise<unknown> => {
    native.sendMessage(fd, bytes, Array<number>(count).fill(nothing));
    const answer = await receive(fd);
    for (const each of answer.descriptors) native.close(each);
    return parseMessage(answer.bytes);
  };
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 20 }), async (names) => {
      expect(await ask(putFrame(names), names.length)).toEqual({ type: "ok" });
      expect(await ask(listFrame())).toEqual({ type: "items", names, more: false });
      expect(await ask(removeFrame(names))).toEqual({ type: "ok" });
    }),
    { numRuns: 200 },
  );
  native.close(fd);
  await keeper.release();
  native.close(nothing);
});

it("the keeper drops whoever sends what we would not take for a request, and answers the rest", async () => {
  const nothing = openSync("/dev/null", "r+");
  const keeper = KeeperProcess.start(`${folder}/keeper.sock`, [nothing, nothing, nothing]);
  for (const bytes of fc.sample(damaged, 300).filter(({ length }) => length > 0)) {
    const descriptor = new Descriptor(native.socket("unix", "seqpacket", false));
    native.connect(descriptor.fd, { family: "unix", path: `${folder}/keeper.sock` });
    native.setNonblocking(descriptor.fd, true);
    native.sendMessage(descriptor.fd, bytes, []);
    await readable(descriptor.fd);
    const answer = await receive(descriptor.fd).then(
      (received) => parseMessage(received.bytes),
      () => "dropped",
    );
    const parsed = parseFrame(bytes);
    const isRequest = typeof parsed !== "string" && [16, 17, 18, 20].includes(parsed.type);
    if (!isRequest) expect(answer).toBe("dropped");
    descriptor.close();
    if (typeof parsed !== "string" && parsed.type === 20) break; // It was released.
  }
  await keeper.release().catch(() => undefined);
  native.close(nothing);
});

it("the launcher takes every grant that we write", async () => {
  const nothing = openSync("/dev/null", "r+");
  const output = native.memfd("output");
  const word = fc
    .string({ unit: "binary", minLength: 1, maxLength: 60 })
    .filter((one) => !/[:\0\n]/u.test(one));
  const plan = fc.record({ names: fc.array(word, { minLength: 1, maxLength: 8 }), value: word });
  let written = "";
  for (const { names, value } of fc.sample(plan, 150)) {
    const { process, channel } = await launch(
      {
        command: ["/bin/sh", "-c", 'printf "%s\\n%s\\n%s\\n" "$LISTEN_FDNAMES" "$VALUE" "$1"', "sh", value],
        environment: { ...environment(), VALUE: value },
        directory: null,
        identity: null,
        umask: null,
        limits: [],
        nice: null,
        noNewPrivileges: false,
        keepChannel: false,
        deathSignal: null,
      },
      names.map((each) => ({ name: each, fd: nothing })),
      [nothing, output, nothing],
      10_000,
    );
    expect(channel).toBeInstanceOf(Channel);
    await process.exit();
    channel.close();
    process.release();
    written += `${names.join(":")}\n${value}\n${value}\n`;
  }
  expect(contentOf(output)).toBe(written);
  native.close(output);
  native.close(nothing);
});
