import { defineConfig } from "vitest/config";

const HOURS = 3_600_000;

export default defineConfig({
  test: {
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/setup.ts"],
    include: ["test/soak/*.soak.ts"],
    pool: "forks",
    maxWorkers: 1,
    maxConcurrency: 4,
    testTimeout: 4 * HOURS,
    hookTimeout: 60_000,
    retry: 0,
  },
});
