/**
 * What the page knows, and how it comes to know more. Pure: the clock, the network and the screen are others'.
 *
 * Everything that is shown comes from three things that the API says (the status, the deploys, the events); what a person
 * is about to do is here too, so that a page that is drawn anew forgets nothing.
 */
import type { Caller, Deploy, DeployList, Event, Status } from "../schemas.ts";
import { type Sample, sampled } from "./samples.ts";
import type { Verb } from "./rights.ts";

/** How the page hears of the daemon. */
export type Link =
  | { readonly kind: "connecting" }
  /** Events come as they happen. */
  | { readonly kind: "live" }
  /** The daemon answers, but no stream of events holds: it is asked again and again. */
  | { readonly kind: "polling" }
  /** No answer. */
  | { readonly kind: "lost"; readonly why: string }
  /** Someone must say who asks. `why`: what was wrong with the token that was tried. */
  | { readonly kind: "locked"; readonly why: string | null };

/** What a person was asked to confirm. */
export interface Question {
  readonly verb: Verb;
  readonly service: string;
  /** The deploy that it is about; null: the service. */
  readonly deploy: string | null;
  /** The generation to end, or the one that was current when the question was asked. */
  readonly generation: number | null;
  readonly state: "open" | "sent";
  /** The daemon's sentence when it refused. */
  readonly refusal: string | null;
}

export interface State {
  readonly link: Link;
  /** When the daemon last answered, by this browser's clock. */
  readonly lastSeenMs: number | null;
  /** By this browser's clock. */
  readonly nowMs: number;
  /** What to add to this browser's clock to get the daemon's. */
  readonly skewMs: number;
  readonly caller: Caller | null;
  readonly status: Status | null;
  /** The newest first. */
  readonly deploys: readonly Deploy[];
  /** `before` of the next older page; null: there is none. */
  readonly olderDeploys: string | null;
  /** The newest first. */
  readonly events: readonly Event[];
  /** By service, the oldest first. */
  readonly samples: Readonly<Record<string, readonly Sample[]>>;
  readonly question: Question | null;
  /** For a screen reader: the last thing that happened while the page was open. */
  readonly announcement: string;
}

export type Action =
  | { readonly type: "tick"; readonly nowMs: number }
  | { readonly type: "link"; readonly link: Link; readonly nowMs: number }
  | { readonly type: "caller"; readonly caller: Caller }
  | {
      readonly type: "status";
      readonly status: Status;
      readonly nowMs: number;
      /** The answer's Date, or null. */
      readonly serverMs: number | null;
    }
  | { readonly type: "deploys"; readonly page: DeployList; readonly isOlder: boolean }
  | { readonly type: "event"; readonly event: Event }
  | { readonly type: "ask"; readonly question: Question }
  | { readonly type: "send" }
  | { readonly type: "refused"; readonly refusal: string }
  | { readonly type: "answered"; readonly what: string }
  | { readonly type: "leave" }
  | { readonly type: "locked"; readonly why: string | null };

/** Now, by the daemon's clock; for as long as it does not answer, the moment at which it last did. */
export function serverMsOf({ link, lastSeenMs, nowMs, skewMs }: State): number {
  return (link.kind === "lost" ? (lastSeenMs ?? nowMs) : nowMs) + skewMs;
}

const EVENTS_SHOWN = 200;
/** Date has whole seconds: less is no difference. */
const LEAST_SKEW_MS = 2_000;

export function initial(nowMs: number): State {
  return {
    link: { kind: "connecting" },
    lastSeenMs: null,
    nowMs,
    skewMs: 0,
    caller: null,
    status: null,
    deploys: [],
    olderDeploys: null,
    events: [],
    samples: {},
    question: null,
    announcement: "",
  };
}

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "tick":
      return { ...state, nowMs: action.nowMs };
    case "link":
      return linked(state, action.link, action.nowMs);
    case "caller":
      return { ...state, caller: action.caller };
    case "status":
      return seen(state, action.status, action.nowMs, action.serverMs);
    case "deploys":
      return withDeploys(state, action.page, action.isOlder);
    case "event":
      return happened(state, action.event);
    case "ask":
      return { ...state, question: action.question };
    case "send":
      return state.question === null
        ? state
        : { ...state, question: { ...state.question, state: "sent", refusal: null } };
    case "refused":
      // Whoever has left the question meanwhile still wants to know.
      return state.question === null
        ? { ...state, announcement: action.refusal }
        : { ...state, question: { ...state.question, state: "open", refusal: action.refusal } };
    case "answered":
      return { ...state, question: null, announcement: action.what };
    case "leave":
      return { ...state, question: null };
    case "locked":
      // Nothing of what was read stays on a screen that nobody is signed in to.
      return { ...initial(state.nowMs), link: { kind: "locked", why: action.why } };
  }
}

function linked(state: State, link: Link, nowMs: number): State {
  if (link.kind === state.link.kind) return { ...state, link, nowMs };
  const isBack = state.link.kind === "lost" && (link.kind === "live" || link.kind === "polling");
  const said =
    link.kind === "lost" ? "The daemon does not answer." : isBack ? "The daemon answers again." : null;
  return { ...state, link, nowMs, announcement: said ?? state.announcement };
}

function seen(state: State, status: Status, nowMs: number, serverMs: number | null): State {
  const skewMs = serverMs === null || Math.abs(serverMs - nowMs) < LEAST_SKEW_MS ? 0 : serverMs - nowMs;
  const samples = Object.fromEntries(
    status.services.map((service) => [
      service.name,
      sampled(state.samples[service.name] ?? [], service, status.listeners, nowMs),
    ]),
  );
  return { ...state, status, nowMs, lastSeenMs: nowMs, skewMs, samples };
}

function withDeploys(state: State, { deploys: page, next }: DeployList, isOlder: boolean): State {
  const keyOf = ({ id, startedAt }: Deploy): string => `${startedAt} ${id}`;
  const known = new Map(state.deploys.map((deploy) => [keyOf(deploy), deploy]));
  for (const deploy of page) known.set(keyOf(deploy), deploy);
  const deploys = [...known.values()].sort((a, b) => b.startedAt.localeCompare(a.startedAt));
  const isFirst = state.deploys.length === 0;
  return { ...state, deploys, olderDeploys: isOlder || isFirst ? next : state.olderDeploys };
}

/** Without what says of a deploy what was said of it before: whatever is written down of it has an event, news or not. */
export function newsOf(events: readonly Event[]): readonly Event[] {
  return events.filter(({ type, deploy, message }, index) => {
    if (type !== "deploy.changed") return true;
    const before = events.slice(index + 1).find((one) => one.type === type && one.deploy === deploy);
    return before?.message !== message;
  });
}

function happened(state: State, event: Event): State {
  // A stream that is resumed may repeat what is known.
  if (event.id <= (state.events[0]?.id ?? 0)) return state;
  const events = [event, ...state.events].slice(0, EVENTS_SHOWN);
  // What was kept from before the page was opened is nobody's news.
  const isNews = state.status !== null && Date.parse(event.at) > state.nowMs + state.skewMs - 10_000;
  const isSaid = isNews && /^(?:deploy\.phase|service\.|daemon\.|generation\.)/u.test(event.type);
  return { ...state, events, announcement: isSaid ? event.message : state.announcement };
}
