/** What the API says, for the page's tests: one service in a canary, its old generation's predecessor still draining. */
import type { Caller, Deploy, Event, Generation, Service, Status } from "../../admin-api/schemas.ts";

/** The daemon's time in all of them, in milliseconds since the epoch. */
export const NOW = Date.parse("2026-01-02T03:04:05.000Z");

export function at(seconds: number): string {
  return new Date(NOW + seconds * 1000).toISOString();
}

export function generation(number: number, overrides: Partial<Generation> = {}): Generation {
  return {
    number,
    version: `v${number}`,
    state: "serving",
    weight: 0,
    connections: number,
    startedAt: at(-100),
    instances: [{ id: 1, pid: 99, state: "serving", restarts: 0 }],
    ...overrides,
  };
}

export function deploy(overrides: Partial<Deploy> = {}): Deploy {
  return {
    id: "api-4",
    service: "api",
    strategy: "canary",
    from: 3,
    to: 4,
    version: "v4",
    phase: "shifting",
    weight: 0.05,
    touched: null,
    step: { index: 0, of: 2, since: at(-15), continuedAt: null },
    pinned: false,
    paused: false,
    until: at(45),
    requestedBy: "ada",
    startedAt: at(-20),
    finishedAt: null,
    reason: null,
    phases: [
      { phase: "starting", startedAt: at(-20), finishedAt: at(-18) },
      { phase: "verifying", startedAt: at(-18), finishedAt: at(-17) },
      { phase: "shifting", startedAt: at(-17), finishedAt: null },
    ],
    ...overrides,
  };
}

export function service(overrides: Partial<Service> = {}): Service {
  return {
    name: "api",
    state: "running",
    current: 3,
    candidate: 4,
    previous: null,
    generations: [
      generation(2, {
        state: "draining",
        draining: { since: at(-5), deadline: at(25), connections: 2 },
      }),
      generation(3, { weight: 0.95 }),
      generation(4, { weight: 0.05 }),
    ],
    deploy: deploy(),
    held: null,
    ...overrides,
  };
}

export function status(overrides: Partial<Status> = {}): Status {
  const slot = (index: number, owner: string | null, weight: number, length: number) => ({
    index,
    generation: owner,
    weight,
    queue: { length, limit: 4096 },
  });
  return {
    version: "0.1.0",
    pid: 41,
    startedAt: at(-1000),
    upgrades: 0,
    listeners: [
      {
        name: "web",
        protocol: "tcp",
        address: "0.0.0.0:8080",
        mode: "steered",
        slots: [
          slot(0, "api/3", 0.95, 2),
          slot(1, "api/4", 0.05, 1),
          slot(2, "api/2", 0, 0),
          slot(3, "api-old/4", 0, 7),
          slot(4, null, 0, 5),
        ],
      },
    ],
    services: [service()],
    ...overrides,
  };
}

export function event(id: number, overrides: Partial<Event> = {}): Event {
  return { id, at: at(0), type: "deploy.phase", message: `event ${id}`, ...overrides };
}

export function caller(overrides: Partial<Caller> = {}): Caller {
  return { name: "ada", role: "deploy", services: null, ...overrides };
}
