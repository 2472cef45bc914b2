/** A daemon that does what the test says: the port's other implementation. */
import { deployUnknown, generationUnknown, serviceUnknown } from "../../admin-api/errors.ts";
import { EventLog } from "../../admin-api/events.ts";
import type { Caller, HoldOptions, MetricsPage, Operations } from "../../admin-api/operations.ts";
import type { DeployQuery, DeployRequest } from "../../admin-api/request-schemas.ts";
import type {
  Deploy,
  DeployList,
  Diagnosis,
  Generation,
  Health,
  Hold,
  Phase,
  Reason,
  Reload,
  Service,
  Status,
  Upgrade,
} from "../../admin-api/schemas.ts";
import { notHeld, nothingToHold, serviceHeld } from "../../deploy/errors.ts";
import { CodedError } from "../../handoff/coded-error.ts";

const START = Date.parse("2026-01-02T03:04:05.000Z");
const TERMINAL: readonly Phase[] = ["succeeded", "rolled-back", "failed", "aborted"];

export class FakeOperations implements Operations {
  readonly events: EventLog;
  readonly callers: Caller[] = [];
  /** The bodies of the deploys that were asked for. */
  readonly requests: DeployRequest[] = [];
  health_: Health = { ready: true, reasons: [] };
  version: string | null = "41";
  current: number | null = 3;
  held: Hold | null = null;
  instances = 1;
  /** Thrown by the next change that is asked for. */
  failure: unknown = null;
  diagnosis: Diagnosis = {
    seenBy: "daemon",
    healthy: true,
    findings: [
      { check: "kernel.pidfd", verdict: "ok", finding: "processes are watched by pidfd", fix: null },
    ],
  };
  reloads: string[] = [];
  reloaded: Reload = {
    added: { listeners: ["ipc"], services: [] },
    removed: { listeners: [], services: ["old"] },
    changed: {
      listeners: [{ name: "web", keys: ["backlog"] }],
      services: [{ name: "api", keys: ["command", "deploy"] }],
      daemon: ["log.level"],
    },
    pending: [{ name: "api", keys: ["command"] }],
    needsRestart: ["marks"],
    warnings: [],
  };
  /** Thrown by everything that is read. */
  blindness: unknown = null;
  #deploys = new Map<string, Deploy>();
  #clock = START;

  constructor(events = new EventLog()) {
    this.events = events;
  }

  async upgrade(caller: Caller): Promise<Upgrade> {
    this.#asked(caller);
    return Promise.resolve({ from: "0.1.0", to: "0.2.0", since: this.events.lastId });
  }

  health(): Health {
    this.#see();
    return this.health_;
  }

  async metrics(): Promise<MetricsPage> {
    this.#see();
    return Promise.resolve({ contentType: "text/plain; version=0.0.4", body: "handoffd_build_info 1\n" });
  }

  async doctor(): Promise<Diagnosis> {
    this.#see();
    return Promise.resolve(this.diagnosis);
  }

  status(): Status {
    this.#see();
    const slot = { weight: 0, queue: { length: 0, limit: 4096 } };
    return {
      version: "0.1.0",
      pid: 41,
      startedAt: new Date(START).toISOString(),
      upgrades: 0,
      listeners: [
        {
          name: "web",
          protocol: "tcp",
          address: "0.0.0.0:8080",
          mode: "steered",
          slots: [
            { index: 0, generation: "api/3", ...slot, weight: 1 },
            { index: 1, generation: null, ...slot, held: [{ pid: 7, command: "tail" }] },
          ],
        },
      ],
      services: [this.#service()],
    };
  }

  deploy(service: string, request: DeployRequest, caller: Caller): Deploy {
    return this.#begin(service, request.version ?? this.version, request, caller);
  }

  reload(requestedBy: string): Reload {
    this.reloads.push(requestedBy);
    if (this.failure instanceof Error) throw this.failure;
    return this.reloaded;
  }

  restart(service: string, caller: Caller): Deploy {
    return this.#begin(service, this.version, {}, caller);
  }

  rollback(service: string, caller: Caller): Deploy {
    const baking = this.failure === null ? this.#running() : null;
    if (baking === null) return this.#begin(service, "40", {}, caller);
    return this.enter(baking.id, "rolling-back");
  }

  hold(service: string, { idles }: HoldOptions, caller: Caller): Service {
    this.#known(service);
    this.#asked(caller);
    if (this.current === null) throw nothingToHold(service);
    this.held ??= { since: this.#tick(), requestedBy: caller.name, idles, waiting: 0 };
    return this.#service();
  }

  resume(service: string, caller: Caller): Deploy {
    this.#known(service);
    if (this.failure === null && this.held === null) throw notHeld(service);
    this.held = null;
    return this.#begin(service, this.version, { strategy: "recreate" }, caller);
  }

  scale(service: string, instances: number, caller: Caller): Service {
    this.#known(service);
    this.#asked(caller);
    if (this.held !== null) throw serviceHeld(service);
    this.instances = instances;
    return this.#service();
  }

  endGeneration(service: string, number: number, caller: Caller): Generation {
    this.#known(service);
    const generation = this.#service().generations.find((each) => each.number === number);
    if (generation === undefined) throw generationUnknown(service, number, [3]);
    this.#asked(caller);
    return generation;
  }

  listDeploys({ service, limit = 20, before }: DeployQuery): DeployList {
    this.#see();
    if (service !== undefined) this.#known(service);
    const newest = [...this.#deploys.values()].reverse();
    const from = before === undefined ? 0 : newest.findIndex(({ id }) => id === before) + 1;
    const deploys = newest.slice(from, from + limit);
    return { deploys, next: from + limit < newest.length ? (deploys.at(-1)?.id ?? null) : null };
  }

  getDeploy(id: string): Deploy {
    this.#see();
    const deploy = this.#deploys.get(id);
    if (deploy === undefined) throw deployUnknown(id);
    return deploy;
  }

  promote(id: string, caller: Caller): Deploy {
    return this.#wish(id, caller, (deploy) => ({ ...deploy, paused: false }));
  }

  abort(id: string, caller: Caller): Deploy {
    this.#wish(id, caller, (deploy) => deploy);
    return this.enter(id, "aborted", {
      code: "DEPLOY_ABORTED",
      message: "The deploy was aborted on request.",
    });
  }

  pause(id: string, caller: Caller): Deploy {
    return this.#wish(id, caller, (deploy) => ({ ...deploy, paused: true }));
  }

  continueDeploy(id: string, caller: Caller): Deploy {
    return this.#wish(id, caller, (deploy) => ({ ...deploy, paused: false }));
  }

  // --- what the test plays ---

  enter(id: string, phase: Phase, reason: Reason | null = null): Deploy {
    const at = this.#tick();
    const ended = TERMINAL.includes(phase);
    return this.#change(id, `entered ${phase}`, (deploy) => ({
      ...deploy,
      phase,
      reason,
      weight: phase === "baking" ? 1 : deploy.weight,
      finishedAt: ended ? at : null,
      phases: [
        ...deploy.phases.map((record) => ({ ...record, finishedAt: record.finishedAt ?? at })),
        { phase, startedAt: at, finishedAt: ended ? at : null },
      ],
    }));
  }

  /** As a daemon that was restarted from a state without this deploy. */
  forget(id: string): void {
    this.#deploys.delete(id);
  }

  #begin(service: string, version: string | null, request: DeployRequest, caller: Caller): Deploy {
    this.#known(service);
    this.#asked(caller);
    this.requests.push(request);
    const running = this.#running();
    if (this.held !== null) throw serviceHeld(service);
    if (running !== null)
      throw new CodedError("DEPLOY_IN_PROGRESS", `Deploy ${running.id} is ${running.phase}.`);
    const at = this.#tick();
    const id = `d-${this.#deploys.size + 1}`;
    this.#deploys.set(id, {
      id,
      service,
      strategy: request.strategy ?? "blue-green",
      from: this.current,
      to: (this.current ?? 0) + 1,
      version,
      phase: "starting",
      weight: 0,
      touched: null,
      step: null,
      pinned: false,
      paused: false,
      requestedBy: caller.name,
      startedAt: at,
      finishedAt: null,
      reason: null,
      phases: [{ phase: "starting", startedAt: at, finishedAt: null }],
    });
    return this.#change(id, "was accepted", (deploy) => deploy);
  }

  #wish(id: string, caller: Caller, change: (deploy: Deploy) => Deploy): Deploy {
    this.#asked(caller);
    if (this.getDeploy(id).finishedAt !== null)
      throw new CodedError("DEPLOY_ALREADY_ENDED", `Deploy ${id} has ended.`);
    return this.#change(id, "was asked", change);
  }

  #change(id: string, what: string, change: (deploy: Deploy) => Deploy): Deploy {
    const deploy = change(this.getDeploy(id));
    this.#deploys.set(id, deploy);
    const { service, phase } = deploy;
    this.events.append({ type: "deploy.phase", service, deploy: id, phase, message: `deploy ${id} ${what}` });
    return deploy;
  }

  #see(): void {
    if (this.blindness instanceof Error) throw this.blindness;
  }

  #asked(caller: Caller): void {
    this.callers.push(caller);
    const failure = this.failure;
    this.failure = null;
    if (failure instanceof Error) throw failure;
  }

  #running(): Deploy | null {
    return [...this.#deploys.values()].find(({ finishedAt }) => finishedAt === null) ?? null;
  }

  #known(service: string): void {
    if (service !== "api") throw serviceUnknown(service, ["api"]);
  }

  #tick(): string {
    this.#clock += 500;
    return new Date(this.#clock).toISOString();
  }

  #service(): Service {
    return {
      name: "api",
      state: this.held !== null ? "held" : this.current === null ? "starting" : "running",
      current: this.current,
      candidate: null,
      previous: null,
      generations: [
        {
          number: 3,
          version: this.version,
          state: "serving",
          weight: 1,
          connections: 17,
          startedAt: new Date(START).toISOString(),
          instances: Array.from({ length: this.instances }, (_, index) => ({
            id: index + 1,
            pid: 99 + index,
            state: "serving",
            restarts: 0,
          })),
        },
      ],
      deploy: this.#running(),
      held: this.held,
    };
  }
}
