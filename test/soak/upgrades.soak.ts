import { expect, test } from "vitest";
import { NOTHING } from "../support/stage.ts";
import { upgradeOften } from "../support/upgrades.ts";
import { report, soakOptions } from "./report.ts";

const { seed, upgrades, every } = soakOptions({ upgrades: 200, every: 4 });

test("upgrades in a row are noticed by no client and no instance", async () => {
  const progress = (done: number): void => {
    if (done % 10 === 0) process.stdout.write(`${done}/${upgrades}\n`);
  };
  const outcome = await upgradeOften({ upgrades, every, seed, progress });
  report(outcome);
  expect(outcome).toMatchObject({
    upgrades,
    isSamePid: true,
    restarts: 0,
    failedDeploys: 0,
    losses: [NOTHING, NOTHING],
  });
  expect(outcome.descriptors.last).toBeLessThanOrEqual(outcome.descriptors.first + 2);
  expect(outcome.rssKiB.last).toBeLessThan(outcome.rssKiB.first * 1.3);
});
