/** What has happened is known afterwards, whatever the daemon and its disk went through. */
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDaemon, type Daemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { Deploy } from "../support/status.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

let daemon: Daemon;
beforeEach(async () => {
  daemon = await startDaemon({ config: oneService() });
  await eventually("the first start to be over", () => deploysInFile().length === 1);
});
afterEach(() => daemon[Symbol.asyncDispose]());

const file = () => `${daemon.folder}/state/history.jsonl`;

/** The lines that are whole. */
function entries(): Readonly<Record<string, unknown>>[] {
  return readFileSync(file(), "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as Readonly<Record<string, unknown>>];
      } catch {
        return [];
      }
    });
}

const deploysInFile = () => entries().flatMap(({ type, id }) => (type === "deploy" ? [id] : []));

interface Page {
  readonly deploys: readonly Deploy[];
  readonly next: string | null;
}

const page = async (query: string) => (await daemon.api("GET", `/v1/deploys?${query}`)).json as Page;
const listed = async () => (await page("limit=200")).deploys.map(({ id }) => id);

test("a deploy is in the history once, with who, why and both generations' connections", async () => {
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "keepalive", connections: 6, rate: 100 });
  await load.started;
  await daemon.until("six connections", ({ services }) => services[0]?.generations[0]?.connections === 6);
  const { code } = await daemon.cli("deploy", "api", "v1", "--bake", "5m", "--detach");
  expect(code).toBe(0);
  await daemon.untilDeploy("api-2", { until: ["baking"] });
  await daemon.cli("promote", "api-2", "--wait");
  expect(lost(await load.stop())).toEqual(NOTHING);

  const deploy = (await daemon.api("GET", "/v1/deploys/api-2")).json;
  expect(deploy).toMatchObject({
    phase: "succeeded",
    evidence: {
      candidate: { generation: 2, atEnd: null, cut: null },
      previous: { generation: 1, atShift: 6, peak: 6, cut: 0, endedBy: null },
    },
  });
  const by = "root (uid 0)";
  expect(entries()).toMatchObject([
    { v: 1, type: "deploy", id: "api-1", service: "api", by: "handoffd (start)" },
    { v: 1, type: "promote", id: "api-2", service: "api", by },
    { v: 1, type: "deploy", id: "api-2", service: "api", by, deploy },
  ]);
  const { stdout } = await daemon.cli("history", "api");
  expect(stdout).toMatch(/^api-2 +api +v1 +1 -> 2 +succeeded/m);
  expect(stdout).toMatch(/^api-2: starting .*baking /m);
  expect(stdout).toMatch(/^api-2: connections of generation 1: 6 when traffic moved, 6 at most/m);
});

test(
  "a daemon that is killed before it knows what it has written writes it again, and shows it once",
  { timeout: 60_000 },
  async () => {
    await daemon.deploy("v1");
    await eventually("the entry", () => deploysInFile().includes("api-2"));
    await killBeforeItKnows("api-2");
    await daemon.restart();
    expect(deploysInFile()).toEqual(["api-1", "api-2", "api-2"]);
    expect(await listed()).toEqual(["api-2", "api-1"]);

    // Killed in the middle of the write: the line is torn, and the next one is whole.
    await daemon.deploy("v2");
    await eventually("the entry", () => deploysInFile().includes("api-3"));
    await killBeforeItKnows("api-3");
    truncateSync(file(), readFileSync(file()).length - 40);
    expect(deploysInFile()).not.toContain("api-3");
    await daemon.restart();
    expect(deploysInFile()).toEqual(["api-1", "api-2", "api-2", "api-3"]);
    expect(await listed()).toEqual(["api-3", "api-2", "api-1"]);

    // And it knows by then: nothing is written a third time.
    daemon.kill("SIGKILL");
    await daemon.restart();
    expect(deploysInFile()).toEqual(["api-1", "api-2", "api-2", "api-3"]);
  },
);

test("a full disk stops no deploy, is told and counted, and what it kept out is written when there is room", async () => {
  rmSync(file());
  symlinkSync("/dev/full", file());
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded" });
  expect((await daemon.api("GET", "/metrics")).json).toContain("handoffd_history_write_failures_total 2");
  expect(daemon.log().filter(({ msg }) => String(msg).startsWith("the history cannot"))).toHaveLength(1);
  expect(await listed()).toEqual(["api-3", "api-2", "api-1"]);
  rmSync(file());
  expect(await daemon.deploy("v3")).toMatchObject({ phase: "succeeded" });
  await eventually("the entries", () => deploysInFile().length === 3);
  expect(deploysInFile()).toEqual(["api-2", "api-3", "api-4"]);
});

test("deploys that only the history has are listed in pages and found by their id", async () => {
  const [template] = entries();
  const old = Array.from({ length: 500 }, (_, n) => {
    const startedAt = new Date(Date.parse("2020-01-01T00:00:00Z") + n * 60_000).toISOString();
    const deploy = { ...(template?.["deploy"] as object), id: `old-${n}`, service: "old", startedAt };
    return JSON.stringify({ ...template, at: startedAt, id: `old-${n}`, service: "old", deploy });
  });
  const text = readFileSync(file(), "utf8");
  writeFileSync(file(), `${old.join("\n")}\n{"v":1,"type":"dep\n`);
  appendFileSync(file(), text);

  const first = await page("limit=200");
  expect(first.deploys.map(({ id }) => id).slice(0, 2)).toEqual(["api-1", "old-499"]);
  const second = await page(`limit=200&before=${encodeURIComponent(first.next ?? "")}`);
  const third = await page(`limit=200&before=${encodeURIComponent(second.next ?? "")}`);
  expect(second.deploys[0]?.id).toBe("old-300");
  expect([third.deploys.length, third.deploys.at(-1)?.id, third.next]).toEqual([101, "old-0", null]);
  expect((await page("service=old&limit=1")).deploys).toMatchObject([{ id: "old-499", service: "old" }]);
  expect((await daemon.api("GET", "/v1/deploys/old-7")).json).toMatchObject({ id: "old-7" });
  expect((await daemon.api("GET", "/v1/deploys/old-500")).status).toBe(404);
  expect((await daemon.api("GET", "/v1/deploys?service=older")).status).toBe(404);
  const { stdout } = await daemon.cli("history", "old", "--limit", "2", "--json");
  expect((JSON.parse(stdout) as Page).deploys.map(({ id }) => id)).toEqual(["old-499", "old-498"]);
});

/** The daemon is killed, and its state is as it was before the entry of this deploy was known to be written. */
async function killBeforeItKnows(id: string): Promise<void> {
  daemon.kill("SIGKILL");
  await daemon.exit;
  const folder = `${daemon.folder}/state/services`;
  for (const name of readdirSync(folder)) {
    const content = JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as {
      deploys: { id: string; isInHistory?: boolean }[];
    };
    for (const deploy of content.deploys) if (deploy.id === id) delete deploy.isInHistory;
    writeFileSync(`${folder}/${name}`, JSON.stringify(content));
  }
}
