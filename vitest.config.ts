import { defineConfig } from "vitest/config";

const setupFiles = ["test/support/setup.ts"];

export default defineConfig({
  test: {
    globalSetup: ["test/support/global-setup.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "rooms",
          include: ["test/**/*.test.ts"],
          exclude: ["test/e2e/**", "test/systemd/**", "test/containers/**"],
          maxWorkers: 2,
          setupFiles,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // They measure what clients see of a whole daemon: one at a time, when the rest is done.
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          fileParallelism: false,
          maxConcurrency: 3,
          maxWorkers: 1,
          setupFiles,
          sequence: { groupOrder: 1 },
        },
      },
      {
        // Each boots a systemd, or runs containers. The first run on a machine builds what is booted.
        extends: true,
        test: {
          name: "systemd",
          include: ["test/systemd/**/*.test.ts", "test/containers/**/*.test.ts"],
          // Each in a box of its own; mostly they wait for systemd.
          maxWorkers: 2,
          setupFiles,
          sequence: { groupOrder: 2 },
          testTimeout: 90_000,
        },
      },
    ],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    retry: 0,
    passWithNoTests: false,
  },
});
