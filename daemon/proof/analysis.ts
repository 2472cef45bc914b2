/**
 * The measurements of a service's candidate while users meet it: a look every so often, each judged by deploy/judgement.ts.
 *
 *   begin ─ every ─▶ look ─▶ judge ─ the rest of every ─▶ look …      until `stop`, the next `begin`, or a bad sample
 *
 * The first look comes after one interval: the candidate has only just got its share, and nothing could be said of it. There
 * is never more than one at a time: a slow answer delays the next, and what an earlier stage asked is over, and its answer
 * dropped, before the next stage looks. Nothing of it outlives the daemon: a deploy that goes on asks for it anew.
 */
import type { AnalysisView } from "../../deploy/fleet.ts";
import {
  assess,
  beginJudgement,
  judge,
  type Judgement,
  type Reading,
  type Sample,
} from "../../deploy/judgement.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import type { LaunchSpecification } from "../../handoff/launch.ts";
import { runCommand } from "./command.ts";
import type { AnalysisConfig } from "../config/config.ts";
import { fillQuery } from "../config/placeholders.ts";
import { pause } from "../generation/ending.ts";
import { queryPrometheus } from "./prometheus.ts";
import type { Surroundings } from "../surroundings.ts";

/** The candidate that it is about. */
export interface AnalysisSubject {
  readonly version: string | null;
  readonly generation: number;
  /** Its share of new connections now, 0..1. */
  readonly weight: () => number;
  readonly commandSpecification: (
    command: readonly string[],
    extra: Readonly<Record<string, string>>,
  ) => LaunchSpecification;
}

export interface AnalysisContext {
  /** Its name. */
  readonly service: string;
  /** The view has changed. */
  readonly onChange: () => void;
  readonly surroundings: Pick<Surroundings, "devNull" | "log" | "say" | "tally">;
}

interface Stage {
  readonly config: AnalysisConfig;
  readonly subject: AnalysisSubject;
  readonly signal: AbortSignal;
  /** Of the last sample. */
  verdict: Sample["verdict"] | null;
  hasWarned: boolean;
}

/** Of one service. Belongs to it: it begins and stops it. */
export class Analysis {
  readonly #context: AnalysisContext;
  #judgement: Judgement | null = null;
  #work = new AbortController();
  /** Settles when nothing of what was begun is under way any more. Never rejects. */
  #over: Promise<void> = Promise.resolve();

  constructor(context: AnalysisContext) {
    this.#context = context;
  }

  /** null: there is none. */
  get view(): AnalysisView | null {
    return this.#judgement;
  }

  /** Starts anew; `stage` (milliseconds since the epoch) becomes the view's. What was under way is dropped. */
  begin(config: AnalysisConfig, subject: AnalysisSubject, stage: number): void {
    void this.stop();
    this.#judgement = beginJudgement(stage, Date.now());
    const work = new AbortController();
    this.#work = work;
    const begun: Stage = { config, subject, signal: work.signal, verdict: null, hasWarned: false };
    this.#over = Promise.all([this.#over, this.#watch(begun, this.#over)]).then(() => undefined);
  }

  /** There is none from now on. Settles when no timer, request or process of it is left. Doing so twice is once. */
  stop(): Promise<void> {
    this.#judgement = null;
    this.#work.abort();
    return this.#over;
  }

  async #watch(stage: Stage, before: Promise<void>): Promise<void> {
    const { config, signal } = stage;
    try {
      for (let next = performance.now() + config.everyMs; ;) {
        await pause(Math.max(0, next - performance.now()), signal);
        await before;
        signal.throwIfAborted();
        next = performance.now() + config.everyMs;
        const reading = await this.#read(stage);
        signal.throwIfAborted();
        if (this.#take(stage, assess(reading, config)) === "failing") return;
      }
    } catch (error) {
      if (signal.aborted) return; // It is over: nobody waits for what it would have found.
      // The view stays without a verdict, so that the deploy ends by its deadline.
      this.#context.surroundings.log.error({ err: error }, "a fault in an analysis");
    }
  }

  /** Adds a sample to what is known. */
  #take(stage: Stage, sample: Sample): Judgement["state"] {
    const { service, surroundings, onChange } = this.#context;
    const before = this.#judgement;
    if (before === null) throw new Error(`an analysis of ${service} goes on after its end`);
    surroundings.tally.sampled(service, sample.verdict);
    const after = judge(before, sample, stage.config.samples, Date.now());
    this.#judgement = after;
    if (sample.verdict !== stage.verdict) this.#say(stage, sample, after.reason?.code ?? null);
    stage.verdict = sample.verdict;
    onChange();
    return after.state;
  }

  /** Of a row of samples that are alike, the first. */
  #say({ subject }: Stage, { verdict, because }: Sample, code: string | null): void {
    const { service, surroundings } = this.#context;
    const { generation } = subject;
    const message = `analysis of ${service}/${generation}: a sample ${verdict === "good" ? "is good" : because}`;
    const why = code === null ? {} : { code };
    const level = verdict === "good" ? "info" : "warn";
    surroundings.say({ type: "analysis.sample", message, service, generation, ...why }, level);
  }

  /** What could not be read is a reading that says so. Throws only when the stage is over. */
  async #read(stage: Stage): Promise<Reading> {
    const { config, signal } = stage;
    try {
      return config.source.kind === "command"
        ? await this.#readCommand(stage, config.source.command)
        : await this.#readQuery(stage, config.source);
    } catch (error) {
      signal.throwIfAborted();
      this.#context.surroundings.log.error({ err: error }, "a fault in a sample of an analysis");
      return { kind: "unanswered", because: messageOf(error) };
    }
  }

  async #readQuery(stage: Stage, source: { readonly url: string; readonly query: string }): Promise<Reading> {
    const { config, subject, signal } = stage;
    const { service, surroundings } = this.#context;
    // Filled with nothing it would be about whatever has no version, which the candidate need not be.
    if (subject.version === null && source.query.includes("{version}"))
      return { kind: "unanswered", because: "the query asks for {version}, and this release has none" };
    const query = fillQuery(source.query, { service, ...subject });
    const { timeoutMs } = config;
    const { reading, warnings } = await queryPrometheus({ url: source.url, query, timeoutMs }, signal);
    if (warnings.length > 0 && !stage.hasWarned) {
      stage.hasWarned = true;
      surroundings.log.warn({ service, query, warnings }, "Prometheus warns about the query of an analysis");
    }
    return reading;
  }

  async #readCommand({ config, subject, signal }: Stage, command: readonly string[]): Promise<Reading> {
    const { devNull } = this.#context.surroundings;
    const { timeoutMs } = config;
    const specification = (): LaunchSpecification =>
      subject.commandSpecification(command, { HANDOFF_WEIGHT: String(subject.weight()) });
    const end = await runCommand({ specification, devNull, timeoutMs }, signal);
    switch (end.kind) {
      case "exited":
        return { kind: "exit", status: end.code, said: end.said };
      case "late":
        return { kind: "unanswered", because: `the command was not done within ${timeoutMs} ms` };
      case "not-run":
        return { kind: "unanswered", because: end.because };
    }
  }
}
