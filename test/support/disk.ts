/** A small disk of its own, to be filled or made read-only. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

/** A directory that is a small disk of its own where this process may mount one. */
export class Disk implements Disposable {
  readonly path: string;
  readonly canBeFilled: boolean;

  private constructor(path: string, canBeFilled: boolean) {
    this.path = path;
    this.canBeFilled = canBeFilled;
  }

  static open(): Disk {
    const path = mkdtempSync(`${tmpdir()}/disk-`);
    if (process.getuid?.() !== 0) return new Disk(path, false);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "handoffd-test", path]);
    return new Disk(path, true);
  }

  /** Until the result is disposed of. */
  fill(): Disposable {
    const file = `${this.path}/full`;
    if (this.canBeFilled) {
      try {
        writeFileSync(file, new Uint8Array(2 * 1024 * 1024));
      } catch {
        // As far as there was room.
      }
    }
    return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
  }

  setReadOnly(isReadOnly: boolean): void {
    execFileSync("mount", ["-o", `remount,${isReadOnly ? "ro" : "rw"}`, this.path]);
  }

  [Symbol.dispose](): void {
    if (this.canBeFilled) execFileSync("umount", ["--lazy", this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}
