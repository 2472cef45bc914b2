/**
 * Whose a connection is that has moved: it gets the mark of the slot on which its new process would have accepted it (marks.ts). A
 * process may only be looked into by those who may trace it (ptrace(2)); where the daemon may not, the connection keeps the mark
 * that it was accepted with.
 *
 * The process says which descriptor it is, and with which cookie: nothing else of its is ever touched, and what it has closed
 * meanwhile is let be.
 */
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { closeForeign } from "../../handoff/foreign.ts";
import type { Held } from "../../handoff/messages.ts";
import { native, SO } from "../../handoff/native.ts";
import type { Process } from "../../handoff/process.ts";
import type { Marks } from "../sockets/marks.ts";
import type { Surroundings } from "../surroundings.ts";

/** So many of one process' may wait to be closed; beyond that it is not looked into. */
const MOST_CLOSING = 1_024;

export class Remarks {
  readonly #marks: () => Pick<Marks, "isOurs"> | null;
  readonly #say: Surroundings["say"];
  readonly #closing = new WeakMap<Process, number>();
  readonly #refusing = new Set<string>();

  /** `marks`: null where connections bear none. */
  constructor(marks: () => Pick<Marks, "isOurs"> | null, say: Surroundings["say"]) {
    this.#marks = marks;
    this.#say = say;
  }

  /** Whether some connections of the service bear the mark of whoever has accepted them, though others serve them. */
  isRefusedBy(service: string): boolean {
    return this.#refusing.has(service);
  }

  /** `markOf` a listener's name: 0 where it has none. */
  apply(
    service: string,
    process: Process,
    held: readonly Held[],
    markOf: (listener: string) => number,
  ): void {
    const marks = this.#marks();
    if (marks === null) return;
    for (const { fd, cookie, listener } of held) {
      if (this.#closingOf(process) >= MOST_CLOSING) return;
      const mark = markOf(listener);
      if (mark === 0) continue;
      let copy: number | null;
      try {
        copy = process.duplicate(fd);
      } catch (error) {
        // At its RLIMIT_NOFILE, say, the next one may be looked into again: few keep the mark of whoever has accepted them.
        if (hasCode(error, "EPERM")) this.#refused(service, process.pid, error);
        return;
      }
      if (copy !== null && remark(copy, cookie, mark, marks)) this.#close(process, copy);
    }
  }

  #closingOf(process: Process): number {
    return this.#closing.get(process) ?? 0;
  }

  /** Who knows what a program has named, and how long it lets one wait. */
  #close(process: Process, fd: number): void {
    this.#closing.set(process, this.#closingOf(process) + 1);
    void closeForeign([new Descriptor(fd)]).then(() =>
      this.#closing.set(process, this.#closingOf(process) - 1),
    );
  }

  /** Said once: it is the daemon's own rights that are too narrow. */
  #refused(service: string, pid: number, why: unknown): void {
    if (this.#refusing.has(service)) return;
    this.#refusing.add(service);
    const message = `the daemon cannot look into pid ${pid} (${messageOf(why)}): connections that move are counted with the generation that accepted them; it needs CAP_SYS_PTRACE for that`;
    this.#say({ type: "connections.not-marked", service, message }, "warn");
  }
}

/** `fd` is a duplicate of another process' descriptor. Returns whether it is still to be closed. */
function remark(fd: number, cookie: bigint, mark: number, marks: Pick<Marks, "isOurs">): boolean {
  let mayWait = true;
  try {
    if (native.cookie(fd) !== cookie) return true;
    mayWait = native.getOption(fd, SO.SOL_SOCKET, SO.SO_LINGER) !== 0;
    if (marks.isOurs(native.getOption(fd, SO.SOL_SOCKET, SO.SO_MARK)))
      native.setOption(fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
  } catch {
    // No socket, or one without that option: a program may name what it likes, and gains nothing by it.
  }
  // Nearly all: they are connections that do not linger.
  if (!mayWait) native.close(fd);
  return mayWait;
}
