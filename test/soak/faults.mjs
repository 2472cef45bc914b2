import { runInVitest } from "./in-vitest.mjs";

export const run = (options) => runInVitest("faults", options);
