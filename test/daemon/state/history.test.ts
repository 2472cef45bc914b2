/** A file that is torn, full, gone or from another time, and what of it is still read. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { History, type HistoryDraft } from "../../../daemon/state/history.ts";
import { HistoryFile, type HistoryEntry } from "../../../daemon/state/history-file.ts";
import { root } from "../../support/paths.ts";

const MIB = 1024 * 1024;
let state: string;
// In memory: some tests write thousands of times, and each write waits for the disk.
beforeEach(() => (state = mkdtempSync("/dev/shm/hd-history-")));
afterEach(() => rmSync(state, { recursive: true }));

const file = () => `${state}/history.jsonl`;
const older = () => `${state}/history.1.jsonl`;

function entry(id: string, more: Readonly<Record<string, unknown>> = {}): HistoryEntry {
  return { v: 1, type: "end", at: "2026-01-02T03:04:05.000Z", id, ...more };
}

const entries = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => entry(`api/${from + index}`));

async function idsIn(source: Pick<HistoryFile, "newestFirst">): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of source.newestFirst()) ids.push(id);
  return ids;
}

describe("the history's file", () => {
  it("is read newest first, whatever the lines are long, and by whoever comes next", async () => {
    const all = [1, 10, 65_000, 65_536, 200_000, 3, 70_000].map((length, index) =>
      entry(`api/${index}`, { text: "ü".repeat(length) }),
    );
    expect(new HistoryFile(state, MIB * 8).append(all)).toEqual({ written: 7, error: null });
    const read: HistoryEntry[] = [];
    for await (const each of new HistoryFile(state, MIB).newestFirst()) read.push(each);
    expect(read).toEqual(all.toReversed());
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it("that is not there has nothing in it, and is made by the next entry", async () => {
    const history = new HistoryFile(state, MIB);
    expect(await idsIn(history)).toEqual([]);
    history.append(entries(1, 2));
    rmSync(file());
    history.append(entries(3, 3));
    expect(await idsIn(history)).toEqual(["api/3"]);
  });

  it("becomes the older one when it is full, and the one before that goes", async () => {
    const limit = 2_000;
    const history = new HistoryFile(state, limit);
    for (let n = 1; n <= 500; n++) history.append(entries(n, n));
    expect(readdirSync(state).sort()).toEqual(["history.1.jsonl", "history.jsonl"]);
    for (const each of [file(), older()]) expect(statSync(each).size).toBeLessThan(limit + 100);
    const ids = await idsIn(history);
    expect(ids.length).toBeGreaterThan(limit / 100);
    expect(ids).toEqual(ids.map((_, index) => `api/${500 - index}`));
  });

  it("keeps lines of a version that it does not know, and passes them over", async () => {
    const history = new HistoryFile(state, MIB);
    history.append(entries(1, 1));
    const foreign = [
      JSON.stringify({ ...entry("api/x"), v: 2 }),
      '"a string"',
      "null",
      "{}",
      "[]",
      "",
      "not JSON",
    ];
    appendFileSync(file(), `${foreign.join("\n")}\n`);
    history.append(entries(2, 2));
    expect(await idsIn(history)).toEqual(["api/2", "api/1"]);
    expect(readFileSync(file(), "utf8")).toContain(`\n${foreign.join("\n")}\n`);
  });

  it("with a line without end has all the others", async () => {
    const history = new HistoryFile(state, 64 * MIB);
    history.append(entries(1, 2));
    appendFileSync(file(), "x".repeat(5 * MIB));
    history.append(entries(3, 4));
    expect(await idsIn(history)).toEqual(["api/4", "api/3", "api/2", "api/1"]);
  });

  const texts = fc.array(
    fc.oneof(fc.string({ unit: "binary", maxLength: 30 }), fc.constant("ü".repeat(40_000))),
    {
      minLength: 1,
      maxLength: 12,
    },
  );

  it("cut off at any byte has every line before it, and the next one begins on a line of its own", async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.nat(), async (words, seed) => {
        const { history, lines } = written(words);
        const cutAt = seed % (statSync(file()).size + 1);
        truncateSync(file(), cutAt);
        const whole = lines.filter(({ end }) => end <= cutAt).map(({ id }) => id);
        history.append([entry("next")]);
        const ids = await idsIn(history);
        expect(ids[0]).toBe("next");
        expect(ids.slice(1).toReversed().slice(0, whole.length)).toEqual(whole);
        // At most the one that lost nothing but its newline.
        expect(ids.length - 1 - whole.length).toBeLessThanOrEqual(1);
        expect(readFileSync(file(), "utf8").split("\n").at(-2)).toBe(JSON.stringify(entry("next")));
      }),
      { numRuns: 200 },
    );
  });

  it("overwritten anywhere loses the lines that were touched and no other", async () => {
    const garbage = fc.uint8Array({ minLength: 1, maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(texts, fc.nat(), garbage, async (words, seed, bytes) => {
        const { history, lines } = written(words);
        const content = readFileSync(file());
        const at = seed % content.length;
        content.set(bytes.subarray(0, content.length - at), at);
        writeFileSync(file(), content);
        // The newline before a line is the line's own, too: without it there are no two lines.
        const untouched = lines.filter(({ start, end }) => end < at || start - 1 >= at + bytes.length);
        history.append([entry("next")]);
        const ids = await idsIn(history);
        expect(ids[0]).toBe("next");
        const left = untouched.map(({ id }) => id);
        expect(ids.toReversed().filter((id) => left.includes(id))).toEqual(left);
      }),
      { numRuns: 200 },
    );
  });

  /** `start` is the line's first byte, `end` its newline. */
  function written(words: readonly string[]) {
    rmSync(file(), { force: true });
    const history = new HistoryFile(state, 64 * MIB);
    history.append(words.map((text, index) => entry(`api/${index}`, { text })));
    let at = 0;
    const lines = readFileSync(file(), "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line, index) => {
        const start = at;
        at += Buffer.byteLength(line) + 1;
        return { id: `api/${index}`, start, end: at - 1 };
      });
    return { history, lines };
  }

  it("on a disk that is full in the middle of a line has the whole ones, and says how many", async () => {
    // RLIMIT_FSIZE: write(2) takes what fits, and fails with EFBIG then.
    const program = `
      import { HistoryFile } from ${JSON.stringify(`${root}/dist/daemon/state/history-file.js`)};
      const all = Array.from({ length: 100 }, (_, n) => ({ v: 1, type: "end", at: "", id: "api/" + n }));
      const { written, error } = new HistoryFile(${JSON.stringify(state)}, 1e9).append(all);
      console.log(JSON.stringify({ written, code: error.code }));`;
    const node = [process.execPath, "--input-type=module", "-e", program];
    const said = execFileSync("bash", ["-c", 'ulimit -f 2; exec "$@"', "bash", ...node], {
      encoding: "utf8",
    });
    const { written: count, code } = JSON.parse(said) as { written: number; code: string };
    expect(code).toBe("EFBIG");
    expect(statSync(file()).size).toBe(2048);
    expect(count).toBe(readFileSync(file(), "utf8").split("\n").length - 1);
    const history = new HistoryFile(state, MIB);
    history.append([entry("next")]);
    expect(await idsIn(history)).toEqual([
      "next",
      ...Array.from({ length: count }, (_, n) => `api/${count - 1 - n}`),
    ]);
  });
});

describe("a history that cannot be written", () => {
  const draft = (n: number): HistoryDraft => ({
    type: "end",
    id: `api/${n}`,
    service: "api",
    by: "root",
    cut: null,
  });

  function open(waiting = 100) {
    const lines: { level: number; msg: string }[] = [];
    const log = pino({}, { write: (text: string) => void lines.push(JSON.parse(text) as (typeof lines)[0]) });
    const counted = { failures: 0 };
    const history = new History(state, log, () => counted.failures++, { waiting, retryMs: 1_000_000 });
    return { history, lines, counted };
  }

  it("keeps what happens in its order until it can be, and says so once", async () => {
    symlinkSync("/dev/full", file());
    const { history, lines, counted } = open();
    const told: number[] = [];
    for (let n = 1; n <= 5; n++) history.append(draft(n), () => told.push(n));
    expect(told).toEqual([]);
    expect(counted.failures).toBe(5);
    expect(lines.map(({ level }) => level)).toEqual([50]);
    expect(JSON.stringify(lines[0])).toContain("ENOSPC");
    rmSync(file());
    history.append(draft(6), () => told.push(6));
    expect(told).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await idsIn(history)).toEqual([6, 5, 4, 3, 2, 1].map((n) => `api/${n}`));
    expect(lines.map(({ msg }) => msg)).toEqual([
      "the history cannot be written; deploys go on without it, and it is tried again",
      "the history is written again",
    ]);
  });

  it("is tried again by itself", async () => {
    symlinkSync("/dev/full", file());
    const history = new History(state, pino({ level: "silent" }), () => rmSync(file(), { force: true }), {
      retryMs: 1,
    });
    await new Promise<void>((resolve) => history.append(draft(1), resolve));
    expect(await idsIn(history)).toEqual(["api/1"]);
  });

  it("lets the oldest go when too much waits", async () => {
    symlinkSync("/dev/full", file());
    const { history } = open(3);
    for (let n = 1; n <= 5; n++) history.append(draft(n));
    rmSync(file());
    history.flush();
    expect(await idsIn(history)).toEqual(["api/5", "api/4", "api/3"]);
  });

  it("and cannot be read either has nothing to show, and says why", async () => {
    symlinkSync(state, file());
    const { history, lines } = open();
    history.append(draft(1));
    expect(await idsIn(history)).toEqual([]);
    expect(lines.map(({ msg }) => msg)).toContain("the history cannot be read");
  });
});
