/**
 * The bodies of the HTTP API, each once: as a JSON Schema (checked at the edge, shipped in the OpenAPI document)
 * and as the TypeScript type of the same name. Fields are only ever added.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const words = <T extends string>(...values: T[]) => Type.Union(values.map((value) => Type.Literal(value)));
const time = (description: string) => Type.String({ format: "date-time", description });
const count = (description: string) => Type.Integer({ minimum: 0, description });
const share = (description: string) => Type.Number({ minimum: 0, maximum: 1, description });

/** What a version may look like: it becomes part of a path, so no slash and no leading dot. */
export const VERSION_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

export const StrategyName = words("blue-green", "canary", "rolling", "recreate");
export type StrategyName = Static<typeof StrategyName>;

export const Phase = words(
  "starting",
  "verifying",
  "shifting",
  "baking",
  "draining",
  "succeeded",
  "rolling-back",
  "rolled-back",
  "failed",
  "aborted",
);
export type Phase = Static<typeof Phase>;

export const GenerationState = words("starting", "standby", "serving", "draining", "stopped", "failed");
export type GenerationState = Static<typeof GenerationState>;

export const ServiceState = words("starting", "running", "held", "degraded", "stopped");
export type ServiceState = Static<typeof ServiceState>;

export const Reason = Type.Object({
  code: Type.String({ description: "Stable; see docs/errors.md" }),
  message: Type.String({ description: "A sentence for people: what happened and the way out" }),
});
export type Reason = Static<typeof Reason>;

export const Holder = Type.Object({ pid: Type.Integer(), command: Type.String() });
export type Holder = Static<typeof Holder>;

export const Slot = Type.Object({
  index: count("Its place in the listener's pool"),
  generation: nullable(
    Type.String({ description: "service/number, as api/3; null while nobody has the slot" }),
  ),
  weight: share("Its share of new connections"),
  queue: Type.Object({
    length: count("Connections that wait to be accepted"),
    limit: count("The backlog as the kernel has it"),
  }),
  held: Type.Optional(
    Type.Array(Holder, { description: "Processes that hold the socket although no generation has the slot" }),
  ),
});
export type Slot = Static<typeof Slot>;

export const Listener = Type.Object({
  name: Type.String(),
  protocol: words("tcp", "udp", "unix", "unixgram"),
  address: Type.String({ description: "host:port, [host]:port, a path or @name" }),
  mode: words("steered", "renamed", "shared"),
  slots: Type.Array(Slot),
  leaving: Type.Optional(
    Type.Literal(true, {
      description: "It was removed from the configuration, and goes when its generations have drained",
    }),
  ),
});
export type Listener = Static<typeof Listener>;

export const Instance = Type.Object({
  id: count("Its number within the generation, from 1"),
  pid: nullable(Type.Integer({ description: "null while no process runs" })),
  state: GenerationState,
  restarts: count("How often it came back after an unexpected exit"),
  status: Type.Optional(Type.String({ description: "What it last said of itself (STATUS=, sd_notify(3))" })),
});
export type Instance = Static<typeof Instance>;

export const Draining = Type.Object({
  since: time("When the drain began"),
  deadline: time("When what is left of it is killed, at the latest"),
  connections: nullable(count("Open connections that are left; null when they are not counted")),
});
export type Draining = Static<typeof Draining>;

export const Generation = Type.Object({
  number: count("Its number within the service, from 1"),
  version: nullable(Type.String()),
  state: GenerationState,
  weight: share("Its share of new connections"),
  connections: nullable(
    count("Open connections; null when they are not counted (marks: off, or unix sockets)"),
  ),
  draining: Type.Optional(Draining),
  startedAt: time("When its first process was started"),
  instances: Type.Array(Instance),
});
export type Generation = Static<typeof Generation>;

export const PhaseRecord = Type.Object({
  phase: Phase,
  startedAt: time("When the phase began"),
  finishedAt: nullable(time("When it ended; null while it lasts")),
});
export type PhaseRecord = Static<typeof PhaseRecord>;

export const DeployStep = Type.Object({
  index: count("Its place among the steps, from 0"),
  of: count("How many steps there are"),
  since: time("When it was reached"),
  continuedAt: nullable(time("When a pause at this step was last ended")),
});
export type DeployStep = Static<typeof DeployStep>;
export const GenerationEvidence = Type.Object({
  generation: count("Its number"),
  atShift: nullable(count("Open connections when new ones had moved to the candidate, or were to go back")),
  peak: nullable(count("The most open connections at any time at which they were counted")),
  atEnd: nullable(count("Open connections when it was told to end")),
  cut: nullable(count("Open connections when its processes were killed; 0 when they ended by themselves")),
  moved: Type.Optional(count("Connections that others took over when it ended; absent: none")),
  endedBy: nullable(Type.String({ description: "Who ended it by hand" })),
});
export type GenerationEvidence = Static<typeof GenerationEvidence>;

export const Evidence = Type.Object(
  { candidate: GenerationEvidence, previous: nullable(GenerationEvidence) },
  { description: "Connections of both generations; null: it has not happened, or is not counted" },
);
export type Evidence = Static<typeof Evidence>;

export const Touched = Type.Object(
  {
    share: share("Its average share of new connections; those of the pinned networks are not in it"),
    peak: share("Its largest share"),
    forMs: count("For how long users came, in milliseconds"),
  },
  { description: "How many users can have met the candidate, until it was left or taken for good" },
);
export type Touched = Static<typeof Touched>;

export const Deploy = Type.Object({
  id: Type.String(),
  service: Type.String(),
  strategy: StrategyName,
  from: nullable(count("The generation that was current when the deploy began")),
  to: count("The generation that it starts"),
  version: nullable(Type.String()),
  phase: Phase,
  weight: share("The candidate's share of new connections"),
  touched: nullable(Touched),
  step: nullable(DeployStep),
  pinned: Type.Boolean({ description: "Whether the networks of `deploy.pin` reach the candidate" }),
  paused: Type.Boolean({ description: "It stays at its step until `continue` or `promote`" }),
  until: Type.Optional(
    time(
      "When the phase or the step is over, or given up, if nothing happens before; absent where time alone changes nothing",
    ),
  ),
  requestedBy: Type.String(),
  startedAt: time("When the deploy was accepted"),
  finishedAt: nullable(time("When it ended; null while it runs")),
  reason: nullable(Reason),
  phases: Type.Array(PhaseRecord),
  evidence: Type.Optional(Evidence),
});
export type Deploy = Static<typeof Deploy>;

export const Hold = Type.Object({
  since: time("When it was asked for"),
  requestedBy: Type.String(),
  idles: Type.Boolean({ description: "The generation that served goes on running, without new connections" }),
  waiting: count("Connections that wait to be accepted"),
});
export type Hold = Static<typeof Hold>;

export const Service = Type.Object({
  name: Type.String(),
  state: ServiceState,
  current: nullable(Type.Integer()),
  candidate: nullable(Type.Integer()),
  previous: nullable(Type.Integer()),
  generations: Type.Array(Generation),
  deploy: nullable(Deploy),
  held: nullable(Hold),
  pending: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "Keys of the configuration that the next deploy brings into force; absent when there are none",
    }),
  ),
  leaving: Type.Optional(
    Type.Literal(true, { description: "It was removed from the configuration, and is draining" }),
  ),
});
export type Service = Static<typeof Service>;

export const Status = Type.Object({
  version: Type.String({ description: "Of handoffd itself" }),
  pid: Type.Integer(),
  startedAt: time("When the daemon was started; an upgrade does not change it"),
  upgrades: count("How often the daemon was replaced while it ran"),
  listeners: Type.Array(Listener),
  services: Type.Array(Service),
});
export type Status = Static<typeof Status>;

const Names = Type.Object({ listeners: Type.Array(Type.String()), services: Type.Array(Type.String()) });
const NamedKeys = Type.Object({
  name: Type.String(),
  keys: Type.Array(Type.String(), { description: "As they stand in the file" }),
});

export const Reload = Type.Object({
  added: Names,
  removed: Names,
  changed: Type.Object({
    listeners: Type.Array(NamedKeys, { description: "In force already" }),
    services: Type.Array(NamedKeys, { description: "In force with the next deploy of each" }),
    daemon: Type.Array(Type.String(), { description: "Keys of the daemon itself, in force already" }),
  }),
  pending: Type.Array(NamedKeys, {
    description: "What services wait for their next deploy with, from this reload and from earlier ones",
  }),
  needsRestart: Type.Array(Type.String(), {
    description:
      "Keys of the daemon itself that differ from what is in force, and stay so until it is started anew",
  }),
  warnings: Type.Array(Type.String(), { description: "What is allowed but probably not meant" }),
});
export type Reload = Static<typeof Reload>;

export const Finding = Type.Object({
  check: Type.String({ description: "The check's stable name, as sysctl.somaxconn; see docs/operations.md" }),
  verdict: Type.Union(
    [Type.Literal("ok"), Type.Literal("note"), Type.Literal("warning"), Type.Literal("problem")],
    {
      description:
        "note: worth knowing; warning: not as it could be; problem: a promise is not kept like this",
    },
  ),
  finding: Type.String({ description: "A sentence for people" }),
  fix: nullable(Type.String({ description: "What to do; null when there is nothing" })),
});
export type Finding = Static<typeof Finding>;

export const Diagnosis = Type.Object({
  seenBy: words("daemon", "host"),
  healthy: Type.Boolean({ description: "There is no problem" }),
  findings: Type.Array(Finding, { description: "One or more of each check that could be made" }),
});
export type Diagnosis = Static<typeof Diagnosis>;

export const Alive = Type.Object({ alive: Type.Literal(true) });
export type Alive = Static<typeof Alive>;

export const Caller = Type.Object({
  name: Type.String({ description: "As it will stand in a deploy's requestedBy" }),
  role: words("read", "deploy", "admin"),
  services: nullable(
    Type.Array(Type.String(), { description: "The only ones that it may change; null: all of them" }),
  ),
});
export type Caller = Static<typeof Caller>;

export const Health = Type.Object({ ready: Type.Boolean(), reasons: Type.Array(Type.String()) });
export type Health = Static<typeof Health>;

export const DeployList = Type.Object({
  deploys: Type.Array(Deploy, { description: "The newest first" }),
  next: nullable(Type.String({ description: "`before` of the next page; null on the last one" })),
});
export type DeployList = Static<typeof DeployList>;

export const ServiceList = Type.Object({ services: Type.Array(Service) });
export type ServiceList = Static<typeof ServiceList>;

export const ListenerList = Type.Object({ listeners: Type.Array(Listener) });
export type ListenerList = Static<typeof ListenerList>;

/** An upgrade that has begun: the program was tried and is about to replace the daemon. */
export const Upgrade = Type.Object({
  from: Type.String({ description: "The version that answers" }),
  to: Type.String({ description: "The version that was tried" }),
  since: Type.Integer({
    description:
      "What becomes of it is the first daemon.upgraded or daemon.upgrade-failed after the event of this id",
  }),
});
export type Upgrade = Static<typeof Upgrade>;

/** RFC 9457. Match on `code`: `detail` is for people and may be reworded. */
export const Problem = Type.Object({
  type: Type.String({ format: "uri" }),
  title: Type.String(),
  status: Type.Integer({ minimum: 400, maximum: 599 }),
  detail: Type.String(),
  code: Type.String(),
  instance: Type.Optional(Type.String({ description: "The request's id, as it stands in the daemon's log" })),
});
export type Problem = Static<typeof Problem>;

/** Something that happened. Ids only grow, over restarts of the daemon too. */
export const Event = Type.Object({
  id: Type.Integer(),
  at: time("When it happened"),
  type: Type.String({ pattern: "^[a-z]+(\\.[a-z-]+)+$", description: "As deploy.phase or instance.exited" }),
  message: Type.String({ description: "A sentence for people" }),
  service: Type.Optional(Type.String()),
  deploy: Type.Optional(Type.String()),
  generation: Type.Optional(Type.Integer()),
  instance: Type.Optional(Type.Integer()),
  listener: Type.Optional(Type.String()),
  phase: Type.Optional(Phase),
  code: Type.Optional(Type.String({ description: "Why, when something failed; see docs/errors.md" })),
});
export type Event = Static<typeof Event>;
