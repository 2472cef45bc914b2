import { expect, test } from "vitest";
import { chaos } from "../support/chaos.ts";
import { NOTHING } from "../support/stage.ts";
import { report, soakOptions } from "./report.ts";

const { seed, seconds } = soakOptions({ seconds: 600 });

test("deploys, deaths, upgrades and full disks in any order are noticed by nobody", async () => {
  const progress = (action: string) => void process.stdout.write(`${action}\n`);
  const outcome = await chaos({ seconds, seed, progress });
  report(outcome);
  expect(outcome).toMatchObject({ losses: [NOTHING, NOTHING], wrong: [] });
});
