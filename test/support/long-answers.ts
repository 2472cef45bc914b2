/** Clients in the middle of answers that do not end by themselves (/stream of test/fixtures/apps). */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { Where } from "./net.ts";

export class LongAnswers implements Disposable {
  readonly #answers: readonly IncomingMessage[];
  #cut = 0;
  #isFinished = false;

  private constructor(answers: readonly IncomingMessage[]) {
    this.#answers = answers;
    for (const answer of answers) {
      answer.on("error", () => undefined); // "aborted": told by "close" as well.
      answer.once("close", () => {
        if (!this.#isFinished) this.#cut++;
      });
      answer.resume();
    }
  }

  /** Resolves when each has seen the beginning of its answer. */
  static async open(count: number, where: Where): Promise<LongAnswers> {
    const to = "path" in where ? { socketPath: where.path } : where;
    const asked = Array.from({ length: count }, async () => {
      const request = get({ ...to, path: "/stream?ms=600000", agent: false });
      const [answer] = (await once(request, "response")) as [IncomingMessage];
      await once(answer, "readable");
      return answer;
    });
    return new LongAnswers(await Promise.all(asked));
  }

  /** How many have ended without `finish`. */
  get cut(): number {
    return this.#cut;
  }

  /** The clients have had enough. */
  finish(): void {
    this.#isFinished = true;
    for (const answer of this.#answers) answer.destroy();
  }

  [Symbol.dispose](): void {
    this.finish();
  }
}
