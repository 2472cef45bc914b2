/** What a thing has begun and must be over before the thing itself can be: it is ended by the signal, and waited for. */
export class Work {
  #controller = new AbortController();
  readonly #pending = new Set<Promise<void>>();

  /** Of the work that is begun now; another one after `renew`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Begins it. A failure that does not come from the signal is `onFailure`'s. */
  begin(work: () => Promise<void>, onFailure: (error: unknown) => void): void {
    const { signal } = this;
    const running = work().catch((error: unknown) => {
      if (!signal.aborted) onFailure(error);
    });
    this.#pending.add(running);
    void running.then(() => this.#pending.delete(running));
  }

  /** Ends what runs, and all that is begun until `renew`. Returns when nothing runs. */
  async end(reason: Error): Promise<void> {
    this.#controller.abort(reason);
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Work can be begun again. */
  renew(): void {
    this.#controller = new AbortController();
  }
}
