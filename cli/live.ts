/** Draws a deploy for as long as someone waits for it: the clock by itself, the rest as it is heard of. */
import type { Deploy, Service } from "../admin-api/schemas.ts";
import { renderProgress } from "./render-progress.ts";
import type { Session } from "./session.ts";

const DRAW_EVERY_MS = 200;
/** Connections change without an event. */
const LOOK_EVERY_MS = 1_000;

export class Live implements Disposable {
  readonly #session: Session;
  readonly #draw: (lines: readonly string[]) => void;
  readonly #timers: readonly NodeJS.Timeout[];
  #deploy: Deploy;
  #service: Service | null = null;
  #isLooking = false;

  private constructor(session: Session, deploy: Deploy, draw: (lines: readonly string[]) => void) {
    this.#session = session;
    this.#deploy = deploy;
    this.#draw = draw;
    this.#timers = [
      setInterval(() => this.#show(), DRAW_EVERY_MS),
      setInterval(() => void this.#look(), LOOK_EVERY_MS),
    ];
    void this.#look();
  }

  /** null where nothing can be drawn. */
  static of(session: Session, deploy: Deploy): Live | null {
    return session.draw === null ? null : new Live(session, deploy, session.draw);
  }

  show(deploy: Deploy): void {
    this.#deploy = deploy;
    this.#show();
    void this.#look();
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#draw([]);
  }

  #show(): void {
    const { now, look } = this.#session;
    this.#draw(renderProgress(this.#deploy, this.#service, now(), look()));
  }

  /** A daemon that is away is the stream's to tell of; meanwhile the last look stands. */
  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      this.#service = await this.#session.client.service(this.#deploy.service);
    } catch {
      // Said by who waits for the deploy, if it lasts.
    }
    this.#isLooking = false;
  }
}
