import { buildLoad } from "./load.ts";

/** Runs once, before any test file. */
export async function setup(): Promise<void> {
  await buildLoad();
}
