/** `handoffd verify` as users have it: an application for each vice, one that is clean, and nothing that stays behind. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

import { afterAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";

import type { Report } from "../../cli/verify/report.ts";
import { command, type Running } from "../cli/command-line.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { killOne, processesOf } from "../support/processes.ts";
import type { Config } from "../support/daemon.ts";

const folder = mkdtempSync(`${tmpdir()}/hd-verify-`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Options {
  readonly service?: Config;
  readonly address?: string;
  readonly args?: readonly string[];
}

/** Of one verification: its temporary directory is made in `folder`. */
interface Verification extends Running {
  readonly folder: string;
}

function verify(app: string, { service = {}, address, args = [] }: Options = {}): Verification {
  const own = mkdtempSync(`${folder}/v`);
  const file = `${own}/handoffd.yaml`;
  writeFileSync(file, stringify(oneService({ command: commandOf(app), ...service }, address)));
  const temporary = `${own}/t`;
  mkdirSync(temporary);
  const few = ["--deploys", "1", "--connections", "4", "--late", "30s", "--ready-within", "60s"];
  const words = ["verify", "-c", file, "api", ...few, ...args];
  return { ...command("handoffd", words, undefined, { TMPDIR: temporary }), folder: temporary };
}

/** Each is three processes and a load: more at a time would only wait for each other. */
const AT_ONCE = 3;
const waiting: (() => void)[] = [];
let running = 0;

async function inTurn<T>(act: () => Promise<T>): Promise<T> {
  if (running === AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    return await act();
  } finally {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}

async function reportOf(
  app: string,
  options: Options = {},
): Promise<Report & { readonly code: number | null }> {
  const { code, stdout, stderr, own } = await inTurn(async () => {
    const { ended, folder } = verify(app, { ...options, args: ["--json", ...(options.args ?? [])] });
    return { ...(await ended), own: folder };
  });
  expect({ stderr, left: readdirSync(own), running: processesOf(own) }).toEqual({
    stderr: "",
    left: [],
    running: [],
  });
  return { ...(JSON.parse(stdout) as Report), code };
}

const codesOf = ({ findings }: Report): string[] => findings.map(({ code }) => code);

const STREAM = ["--stream", "/stream?ms=600"];
const child = (name: string): Config => ({ CHILD_PID_FILE: `${folder}/${name}` });

describe.concurrent("an application", { timeout: 300_000 }, () => {
  test("without a vice is clean under all four loads", async () => {
    const report = await reportOf("polite.mjs", { args: ["--deploys", "2", ...STREAM] });
    expect(report).toMatchObject({ code: 0, clean: true, findings: [], lost: [], notes: [] });
    const asked = report.loads.filter(({ requests }) => requests > 0).map(({ load }) => load);
    expect(asked.sort()).toEqual(["idle", "keep-alive", "new", "streaming"]);
    expect(report.deploys.map(({ phase }) => phase)).toEqual(["succeeded", "succeeded", "succeeded"]);
  });

  test.each<[string, string, string, Options]>([
    [
      "binds its own port",
      "binds-own-port.mjs",
      "binds-own-port",
      { service: { ready: { by: "listening", timeout: "10s" } } },
    ],
    [
      "ignores LISTEN_FDS",
      "ready-never.mjs",
      "ignores-listen-fds",
      { service: { ready: { by: "listening", timeout: "5s" } } },
    ],
    [
      "starts its server as a child",
      "loses-descriptors.mjs",
      "loses-descriptors",
      {
        service: {
          ready: { by: "listening", timeout: "10s" },
          environment: { LOSES: "listens-elsewhere" },
        },
      },
    ],
    ["exits at once", "exits-at-once.mjs", "does-not-start", {}],
    ["closes idle connections", "unmodified.mjs", "closes-idle-connections", {}],
    [
      "exits with requests under way",
      "exits-on-sigterm.mjs",
      "exits-with-requests",
      // Longer than what can come between the shift and SIGTERM on a busy machine.
      { args: ["--stream", "/stream?ms=3000"] },
    ],
    [
      "exits before its queue is empty",
      "one-at-a-time.py",
      "leaves-queue",
      {
        // Six clients with long answers: what waits for an old generation takes it longer than its bake and its drain.settle.
        args: ["--connections", "24", "--stream", "/slow?ms=600"],
        service: { drain: { settle: "20ms", timeout: "20s" } },
      },
    ],
    ["ignores SIGTERM", "ignores-sigterm.mjs", "does-not-end", { service: { drain: { timeout: "2s" } } }],
    ["leaks descriptors", "leaks-descriptors.mjs", "leaks-descriptors", {}],
    ["unlinks its socket", "unlinks-socket.py", "unlinks-socket", { address: "unix:/run/app/ipc.sock" }],
    [
      "is slow to be ready",
      "slow-boot.mjs",
      "slow-to-be-ready",
      { service: { environment: { BOOT_MS: "1100" } }, args: ["--ready-within", "1s"] },
    ],
    [
      "leaves a child in another session",
      "leaves-children.py",
      "leaves-children",
      { service: { environment: child("session") } },
    ],
    [
      "leaves a child in its process group",
      "leaves-children.py",
      "leaves-children",
      { service: { environment: { ...child("group"), LEAVES: "group" }, drain: { timeout: "2s" } } },
    ],
    ["answers with 503 while it ends", "unavailable-when-told.mjs", "answers-otherwise", {}],
    [
      "fails its verification",
      "health-500.mjs",
      "fails-verification",
      { service: { verify: [{ http: { path: "/healthz" } }] } },
    ],
  ])("that %s is found out", async (_title, app, finding, options) => {
    const report = await reportOf(app, options);
    expect(codesOf(report)).toContain(finding);
    expect(codesOf(report)).not.toContain("unexplained-loss");
    expect([report.code, report.clean]).toEqual([1, false]);
  });

  test("that speaks no HTTP has clients that only connect", async () => {
    const report = await reportOf("closes-at-once.py");
    expect(report.loads.map(({ load, lost }) => [load, lost])).toEqual([["connect", 0]]);
    expect(report.notes).toEqual([expect.stringContaining("nothing answers a request by HTTP") as string]);
  });
});

describe.concurrent("a verification that does not come to its end", { timeout: 300_000 }, () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)(
    "because of %s leaves nothing behind, and says so by its exit code",
    async (signal, expected) => {
      const { process, line, ended, folder: own } = verify("polite.mjs", { args: ["--deploys", "1000"] });
      await line("deploy 1 of 1000");
      process.kill(signal);
      const { code, stderr } = await ended;
      expect([code, stderr]).toEqual([
        expected,
        `handoffd: interrupted by ${signal}; all that was started has ended\n`,
      ]);
      expect([readdirSync(own), processesOf(own)]).toEqual([[], []]);
    },
  );

  test("because its daemon was killed ends what that has left, the keeper and the application", async () => {
    const { line, ended, folder: own } = verify("ignores-sigterm.mjs", { args: ["--deploys", "1000"] });
    await line("start: generation 1");
    const found = processesOf(own);
    const daemon = found.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0run\0"));
    killOne(daemon ?? 0);
    const { code, stderr } = await ended;
    expect([code, stderr]).toEqual([1, expect.stringContaining("the private daemon") as string]);
    expect([readdirSync(own), processesOf(own)]).toEqual([[], []]);
  });
});
