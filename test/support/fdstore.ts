/**
 * A descriptor store as systemd has one, in a process of the test's own (fixtures/fdstore.py): what a daemon has stored is there when
 * it is started again, however it has ended.
 *
 * ```ts
 * await using store = await FdStore.open();
 * await using daemon = await startDaemon({ config, ...store.forDaemon });
 * ```
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Readable } from "node:stream";
import type { DaemonOptions } from "./daemon.ts";
import { root } from "./paths.ts";
import { end, type Process, start, withDeadline } from "./processes.ts";

const PROGRAM = `${root}/test/fixtures/fdstore.py`;

export class FdStore implements AsyncDisposable {
  readonly #process: Process;
  readonly #folder: string;

  private constructor(process: Process, folder: string) {
    this.#process = process;
    this.#folder = folder;
  }

  static async open(): Promise<FdStore> {
    const folder = mkdtempSync(`${tmpdir()}/store-`);
    const process = start("/usr/bin/env", ["python3", PROGRAM, folder], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const store = new FdStore(process, folder);
    await store.#ready();
    return store;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** As a unit with FileDescriptorStoreMax= has it. */
  get forDaemon(): Pick<DaemonOptions, "node" | "environment"> {
    const node = `${this.#folder}/node`;
    writeFileSync(node, `#!/bin/sh\nexec python3 ${PROGRAM} run "$@"\n`, { mode: 0o755 });
    return {
      node,
      environment: {
        FDSTORE: "512",
        FDSTORE_GIVE: `${this.#folder}/give`,
        FDSTORE_NODE: process.execPath,
        MANAGERPID: String(this.pid),
        NOTIFY_SOCKET: `${this.#folder}/notify`,
      },
    };
  }

  /** Lets go of everything, as `systemctl clean --what=fdstore` does once the unit has ended. */
  async clean(): Promise<void> {
    this.#process.child.stdin?.write("\n");
    await this.#ready();
  }

  async #ready(): Promise<void> {
    await withDeadline(once(this.#process.child.stdout as Readable, "data"), 10_000, "the descriptor store");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
