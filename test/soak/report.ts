/** What a soak is asked for and what it says, by way of the environment: see in-vitest.mjs. */
import { writeFileSync } from "node:fs";

export function soakOptions<T extends object>(otherwise: T): T & { readonly seed: number } {
  const given = JSON.parse(process.env["SOAK_OPTIONS"] ?? "{}") as Partial<T>;
  return { seed: 1, ...otherwise, ...given };
}

/** Written again and again: what is there when the run ends is the result. */
export function report(body: unknown): void {
  const file = process.env["SOAK_REPORT"];
  if (file !== undefined) writeFileSync(file, JSON.stringify(body));
}
