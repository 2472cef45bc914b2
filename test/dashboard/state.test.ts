import { describe, expect, test } from "vitest";

import {
  type Action,
  initial,
  newsOf,
  reduce,
  serverMsOf,
  type State,
} from "../../admin-api/dashboard/state.ts";
import { caller, deploy, event, NOW, status } from "./scenes.ts";

function after(...actions: readonly Action[]): State {
  return actions.reduce(reduce, initial(NOW));
}

const SEEN: Action = { type: "status", status: status(), nowMs: NOW, serverMs: NOW };
const QUESTION = {
  verb: "promote",
  service: "api",
  deploy: "api-4",
  generation: null,
  state: "open",
  refusal: null,
} as const;

describe("time", () => {
  test("a browser whose clock is wrong counts by the daemon's", () => {
    const state = after({ ...SEEN, nowMs: NOW - 3_600_000, serverMs: NOW });
    expect(serverMsOf(state)).toBe(NOW);
    expect(serverMsOf(reduce(state, { type: "tick", nowMs: NOW - 3_590_000 }))).toBe(NOW + 10_000);
  });

  test("a difference that the header's whole seconds explain is none", () => {
    expect(after({ ...SEEN, serverMs: NOW - 900 }).skewMs).toBe(0);
  });

  test("it stands still while the daemon does not answer, and what is shown is from then", () => {
    const link = { kind: "lost", why: "no answer" } as const;
    const state = after(
      SEEN,
      { type: "link", link, nowMs: NOW + 1_000 },
      { type: "tick", nowMs: NOW + 9_000 },
    );
    expect([serverMsOf(state), state.lastSeenMs, state.nowMs]).toEqual([NOW, NOW, NOW + 9_000]);
    expect(state.status).not.toBeNull();
  });
});

describe("deploys", () => {
  const page = (...deploys: readonly ReturnType<typeof deploy>[]) => ({
    deploys: [...deploys],
    next: "cursor",
  });
  const first = deploy({ id: "api-1", startedAt: "2026-01-01T00:00:00.000Z" });
  const second = deploy({ id: "api-2", startedAt: "2026-01-01T01:00:00.000Z" });

  test("a page that is read again replaces what it knows and keeps the older ones", () => {
    const ended = { ...second, phase: "succeeded" as const };
    const state = after(
      { type: "deploys", page: page(second), isOlder: false },
      { type: "deploys", page: { deploys: [first], next: null }, isOlder: true },
      { type: "deploys", page: page(ended), isOlder: false },
    );
    expect(state.deploys).toEqual([ended, first]);
    expect(state.olderDeploys).toBeNull();
  });

  test("the first page says where the older ones begin", () => {
    expect(after({ type: "deploys", page: page(second), isOlder: false }).olderDeploys).toBe("cursor");
  });
});

describe("events", () => {
  test("the newest is first, and one that comes twice is there once", () => {
    const state = after(...[1, 2, 2, 3].map((id): Action => ({ type: "event", event: event(id) })));
    expect(state.events.map(({ id }) => id)).toEqual([3, 2, 1]);
  });

  test("what repeats what was said of a deploy is no news", () => {
    const said = (id: number, deploy: string, message: string, type = "deploy.changed") =>
      event(id, { type, deploy, message });
    const events = [
      said(6, "api-4", "weight 0.05"),
      said(5, "web-1", "weight 0.05"),
      said(4, "api-4", "weight 0.05"),
      said(3, "api-4", "shifting", "deploy.phase"),
      said(2, "api-4", "weight 0"),
      said(1, "api-4", "weight 0.05"),
    ];
    expect(newsOf(events).map(({ id }) => id)).toEqual([5, 4, 3, 2, 1]);
  });

  test("only so many are kept", () => {
    const state = after(
      ...Array.from({ length: 500 }, (_, id): Action => ({ type: "event", event: event(id + 1) })),
    );
    expect([state.events.length, state.events[0]?.id]).toEqual([200, 500]);
  });

  test("a phase is said aloud, but not what happened before anybody looked, nor every instance", () => {
    const said = (...events: readonly ReturnType<typeof event>[]): string =>
      after(SEEN, ...events.map((one): Action => ({ type: "event", event: one }))).announcement;
    expect(said(event(1, { message: "deploy api-4: baking" }))).toBe("deploy api-4: baking");
    expect(said(event(1, { at: "2026-01-01T00:00:00.000Z" }))).toBe("");
    expect(said(event(1, { type: "instance.ready" }))).toBe("");
  });
});

describe("the connection", () => {
  const lost: Action = { type: "link", link: { kind: "lost", why: "no answer" }, nowMs: NOW };
  const live: Action = { type: "link", link: { kind: "live" }, nowMs: NOW };

  test("its loss and its return are said aloud, once each", () => {
    expect(after(SEEN, live).announcement).toBe("");
    expect(after(SEEN, live, lost).announcement).toBe("The daemon does not answer.");
    expect(after(SEEN, lost, live).announcement).toBe("The daemon answers again.");
    const between = reduce({ ...after(SEEN, lost), announcement: "" }, lost);
    expect(between.announcement).toBe("");
  });

  test("whoever is signed out sees nothing of what was read", () => {
    const state = after(
      { type: "caller", caller: caller() },
      SEEN,
      { type: "event", event: event(1) },
      { type: "locked", why: "no" },
    );
    expect(state).toEqual({ ...initial(NOW), link: { kind: "locked", why: "no" } });
  });
});

describe("a question", () => {
  test("stays open with the daemon's words when it is refused, and is over when it is not", () => {
    const sent = after(SEEN, { type: "ask", question: QUESTION }, { type: "send" });
    expect(sent.question?.state).toBe("sent");
    expect(reduce(sent, { type: "refused", refusal: "It is baking." }).question).toMatchObject({
      state: "open",
      refusal: "It is baking.",
    });
    expect(reduce(sent, { type: "answered", what: "It was asked." })).toMatchObject({
      question: null,
      announcement: "It was asked.",
    });
  });

  test("that was left is not there, and its refusal is said aloud", () => {
    const state = after(SEEN, { type: "ask", question: QUESTION }, { type: "send" }, { type: "leave" });
    expect(reduce(state, { type: "refused", refusal: "It is baking." })).toMatchObject({
      question: null,
      announcement: "It is baking.",
    });
    expect(reduce(state, { type: "send" }).question).toBeNull();
  });
});
