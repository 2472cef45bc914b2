/** The soaks in their short form: whether they hold, and whether they can fail. Full size: `npm run soak -- NAME`. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";

import { expect, test } from "vitest";

import { root } from "./support/paths.ts";
import { environment, start, withDeadline } from "./support/processes.ts";

interface Soaked {
  readonly code: number | null;
  readonly said: string;
  readonly result: Readonly<Record<string, unknown>>;
}

async function soak(name: string, ...args: readonly string[]): Promise<Soaked> {
  const folder = mkdtempSync(`${tmpdir()}/hd-soak-`);
  const file = `${folder}/result.json`;
  const run = start(
    process.execPath,
    [`${root}/bench/soak/main.mjs`, name, "--quick", "--json", file, ...args],
    {
      env: environment(),
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const { stdout, stderr } = run.child;
  try {
    const read = Promise.all([run.exit, text(stdout as Readable), text(stderr as Readable)]);
    const [{ code }, out, err] = await withDeadline(read, 100_000, `the soak ${name}`);
    const { result } = JSON.parse(readFileSync(file, "utf8")) as { readonly result: Soaked["result"] };
    return { code, said: out + err, result };
  } finally {
    run.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
}

test(
  "requests that nobody would send end in no fault, and change nothing",
  { timeout: 110_000 },
  async () => {
    const { code, said, result } = await soak("api-fuzz");
    expect({ code, said }).toMatchObject({ code: 0 });
    // What was generated has come far enough to be judged by each part.
    const { statuses } = result as { readonly statuses: Readonly<Record<string, number>> };
    for (const status of ["200", "400", "401", "403", "404", "405", "413", "414", "415", "421", "431"]) {
      expect(statuses[status], `${status} in ${JSON.stringify(statuses)}`).toBeGreaterThan(0);
    }
  },
);

test("those who watch cost the service's clients nothing", { timeout: 110_000 }, async () => {
  const { code, said } = await soak("api-readers");
  expect({ code, said }).toMatchObject({ code: 0 });
});

test("a hundred deploys and ten upgrades leave nothing behind", { timeout: 110_000 }, async () => {
  const { code, said, result } = await soak("endurance");
  expect({ code, said }).toMatchObject({ code: 0 });
  expect(result).toMatchObject({ deploys: 100, upgradeMs: { count: 10 } });
});
