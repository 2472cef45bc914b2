/**
 * Where no daemon answers, `handoffd doctor` looks at the host: another program, so that this one stays as light as it
 * is. It stands beside this one.
 */
import { execFile } from "node:child_process";
import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";

import type { Diagnosis } from "../admin-api/schemas.ts";
import { doctorFailed } from "./errors.ts";

const LOOK_MS = 30_000;

/** `config`: the daemon's configuration; undefined: where it usually is. Rejects with DOCTOR_FAILED. */
export async function hostDoctor(config: string | undefined): Promise<Diagnosis> {
  const handoffd = join(dirname(realpathSync(process.argv[1] ?? "")), "handoffd");
  const args = ["doctor", "--json", ...(config === undefined ? [] : ["--config", config])];
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [handoffd, ...args],
      { timeout: LOOK_MS, maxBuffer: 1 << 24 },
      (error, stdout, stderr) => {
        try {
          // 1 is the exit code of a host with a problem, which is said on stdout all the same.
          resolve(JSON.parse(stdout) as Diagnosis);
        } catch {
          reject(doctorFailed(stderr.trim() || (error?.message ?? "it said nothing"), error));
        }
      },
    );
  });
}
