/**
 * Whose a connection is that has moved: it gets the mark of the slot on which its new process would have accepted it (marks.ts). A
 * process may only be looked into by those who may trace it (ptrace(2)); where the daemon may not, the connection keeps the mark
 * that it was accepted with.
 *
 * The process says which descriptor it is, and with which cookie: nothing else of its is ever touched, and what it has closed
 * meanwhile is let be.
 */
import { close } from "node:fs";
import { messageOf } from "../handoff/coded-error.ts";
import type { Held } from "../handoff/messages.ts";
import { native, SO } from "../handoff/native.ts";
import type { Process } from "../handoff/process.ts";
import type { Marks } from "./marks.ts";
import type { Surroundings } from "./surroundings.ts";

export class Remarks {
  readonly #marks: () => Pick<Marks, "isOurs"> | null;
  readonly #say: Surroundings["say"];
  #isRefused = false;

  /** `marks`: null where connections bear none. */
  constructor(marks: () => Pick<Marks, "isOurs"> | null, say: Surroundings["say"]) {
    this.#marks = marks;
    this.#say = say;
  }

  /** Whether some connections bear the mark of whoever has accepted them, though others serve them. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** `markOf` a listener's name: 0 where it has none. */
  apply(process: Process, held: readonly Held[], markOf: (listener: string) => number): void {
    const marks = this.#marks();
    if (marks === null) return;
    for (const { fd, cookie, listener } of held) {
      const mark = markOf(listener);
      if (mark === 0) continue;
      let copy: number | null;
      try {
        copy = process.duplicate(fd);
      } catch (error) {
        this.#refused(process.pid, error);
        return;
      }
      if (copy !== null) remark(copy, cookie, mark, marks);
    }
  }

  /** Said once: it is the daemon's own rights, or limits, that are too narrow. */
  #refused(pid: number, why: unknown): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    const message = `the daemon cannot look into pid ${pid} (${messageOf(why)}): connections that move are counted with the generation that accepted them; it needs CAP_SYS_PTRACE for that`;
    this.#say({ type: "connections.not-marked", message }, "warn");
  }
}

/** Consumes `fd`, a duplicate of another process' descriptor. */
function remark(fd: number, cookie: bigint, mark: number, marks: Pick<Marks, "isOurs">): void {
  let mayWait = true;
  try {
    if (native.cookie(fd) !== cookie) return;
    mayWait = native.getOption(fd, SO.SOL_SOCKET, SO.SO_LINGER) !== 0;
    if (marks.isOurs(native.getOption(fd, SO.SOL_SOCKET, SO.SO_MARK)))
      native.setOption(fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
  } catch {
    // No socket, or one without that option: a program may name what it likes, and gains nothing by it.
  } finally {
    // The last one to close a socket that lingers waits for it (socket(7)), and who knows what a program has named: not in the loop.
    if (mayWait) close(fd, () => undefined);
    else native.close(fd);
  }
}
