/**
 * The start of a service that nobody asked for: when the daemon starts, and again, later and later, while it fails. A host that
 * boots may not have everything that the service needs yet.
 */
import { CodedError, messageOf } from "../../handoff/coded-error.ts";
import type { Surroundings } from "../surroundings.ts";

export class FirstStart {
  readonly #service: string;
  readonly #backoff: { readonly backoffMinMs: number; readonly backoffMaxMs: number };
  /** Begins a deploy; throws when it cannot even begin. */
  readonly #begin: () => void;
  readonly #surroundings: Surroundings;
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(
    service: string,
    backoff: { readonly backoffMinMs: number; readonly backoffMaxMs: number },
    begin: () => void,
    surroundings: Surroundings,
  ) {
    this.#service = service;
    this.#backoff = backoff;
    this.#begin = begin;
    this.#surroundings = surroundings;
  }

  now(): void {
    this.cancel();
    try {
      this.#begin();
    } catch (error) {
      this.#surroundings.say(
        {
          type: "service.not-started",
          service: this.#service,
          message: `${this.#service} cannot be started: ${messageOf(error)}`,
          ...(error instanceof CodedError ? { code: error.code } : {}),
        },
        "error",
      );
      this.later();
    }
  }

  /** Tries again after the back-off. */
  later(): void {
    this.cancel();
    const { backoffMinMs, backoffMaxMs } = this.#backoff;
    const delay = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.now(), delay);
  }

  /** It has worked: the next failure is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Someone else has begun, or nothing is to begin any more. */
  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
