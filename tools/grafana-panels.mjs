// What the dashboard shows: a chapter after the other, each panel with the question that it answers. generate-grafana.mjs makes
// the JSON of it. Variables: $instance and $service, each one or many; $__rate_interval and $__range are Grafana's.
const HERE = 'instance=~"$instance"';
const OURS = `${HERE}, service=~"$service"`;

/** The increase within the range that is looked at, or between two points of a graph. */
const inRange = (metric) => `increase(${metric}[$__range])`;
const atEach = (metric) => `increase(${metric}[$__rate_interval])`;
const quantile = (share, metric, selector, ...labels) =>
  `histogram_quantile(${share}, sum by (${["le", ...labels].join(", ")}) (${inRange(`${metric}_bucket{${selector}}`)}))`;

const STATES = ["stopped", "starting", "degraded", "held", "running"];

export const CHAPTERS = [
  {
    title: "Now",
    panels: [
      {
        title: "State of the services",
        question: "Does every service serve, and since when?",
        kind: "states",
        width: 12,
        mappings: {
          stopped: "red",
          starting: "blue",
          degraded: "orange",
          held: "purple",
          running: "green",
        },
        queries: [
          [
            "{{service}} on {{instance}}",
            STATES.map(
              (state, index) =>
                `sum by (instance, service) (handoffd_service_state{${OURS}, state="${state}"}) * ${index}`,
            ).join(" + "),
          ],
        ],
      },
      {
        title: "Current generation",
        question: "Which generation do users reach?",
        kind: "stat",
        width: 4,
        queries: [["{{service}}", `handoffd_service_generation{${OURS}, role="current"}`]],
      },
      {
        title: "Deploys under way",
        question: "Is anything being deployed right now?",
        kind: "stat",
        width: 4,
        queries: [["deploys", `sum(handoffd_deploy_in_progress{${OURS}})`]],
      },
      {
        title: "Connections cut",
        question: "Has a deploy cost anybody a connection, within the time that is shown?",
        kind: "stat",
        width: 4,
        isBadAbove: 0,
        queries: [["connections", `sum(${inRange(`handoffd_drain_cut_connections_total{${OURS}}`)})`]],
      },
    ],
  },
  {
    title: "Traffic",
    panels: [
      {
        title: "Weights of $service",
        question: "Which share of the new connections does each role get? One panel for each service.",
        kind: "stacked",
        width: 24,
        unit: "percentunit",
        max: 1,
        repeat: "service",
        queries: [
          [
            "{{role}}",
            `sum by (role) (handoffd_listener_weight_ratio{${OURS}}) / scalar(sum(handoffd_listener_weight_ratio{${OURS}}))`,
          ],
        ],
      },
      {
        title: "Open connections",
        question: "Who has the users, and how long do old generations keep theirs?",
        kind: "stacked",
        width: 12,
        queries: [["{{service}} {{role}}", `sum by (service, role) (handoffd_service_connections{${OURS}})`]],
      },
      {
        title: "Connections that wait",
        question: "Does a generation accept as fast as connections come?",
        kind: "lines",
        width: 12,
        queries: [
          ["{{service}} {{role}}", `sum by (service, role) (handoffd_service_queue_length{${OURS}})`],
        ],
      },
      {
        title: "Fullest queue of each listener",
        question: "How near is the kernel to dropping handshakes?",
        kind: "lines",
        width: 12,
        unit: "percentunit",
        max: 1,
        queries: [
          [
            "{{listener}} on {{instance}}",
            `max by (instance, listener) (handoffd_listener_queue_length{${HERE}} / (handoffd_listener_queue_limit{${HERE}} > 0))`,
          ],
        ],
      },
      {
        title: "Slots",
        question: "Do generations give their sockets back, or does something hold on to them?",
        kind: "lines",
        width: 12,
        queries: [["{{listener}} {{state}}", `sum by (listener, state) (handoffd_listener_slots{${HERE}})`]],
      },
    ],
  },
  {
    title: "Deploys",
    panels: [
      {
        title: "Deploys that ended",
        question: "How did deploys end, and when?",
        kind: "bars",
        width: 12,
        queries: [
          [
            "{{service}} {{result}}",
            `sum by (service, result) (${atEach(`handoffd_deploys_total{${OURS}}`)})`,
          ],
        ],
      },
      {
        title: "The phase that lasts",
        question: "Where is the deploy under way, and for how long has it been there?",
        kind: "lines",
        width: 12,
        unit: "s",
        queries: [
          [
            "{{service}} {{phase}}",
            `time() - max by (service, phase) (handoffd_deploy_phase_start_timestamp_seconds{${OURS}})`,
          ],
        ],
      },
      {
        title: "Phases, on average",
        question: "Which phase do deploys spend their time in?",
        kind: "gauge",
        width: 12,
        unit: "s",
        queries: [
          [
            "{{phase}}",
            `sum by (phase) (${inRange(`handoffd_deploy_phase_duration_seconds_sum{${OURS}}`)}) / (sum by (phase) (${inRange(`handoffd_deploy_phase_duration_seconds_count{${OURS}}`)}) > 0)`,
          ],
        ],
      },
      {
        title: "Phases, the slowest",
        question: "How long do phases take when they take long (95th percentile, within its bucket)?",
        kind: "gauge",
        width: 12,
        unit: "s",
        queries: [
          ["{{phase}}", `${quantile(0.95, "handoffd_deploy_phase_duration_seconds", OURS, "phase")} >= 0`],
        ],
      },
      {
        title: "Ways back",
        question: "How often did users meet a release that had to go, and who noticed: someone, or handoffd?",
        kind: "stat",
        width: 8,
        queries: [
          ["{{cause}}", `sum by (cause) (${inRange(`handoffd_deploy_rollbacks_total{${OURS}}`)})`],
          ["failed verification, no user", `sum(${inRange(`handoffd_verify_failures_total{${OURS}}`)})`],
        ],
      },
      {
        title: "Analysis",
        question: "What do the measurements say of candidates? none: nothing could be read.",
        kind: "bars",
        width: 8,
        queries: [
          [
            "{{service}} {{verdict}}",
            `sum by (service, verdict) (${atEach(`handoffd_analysis_samples_total{${OURS}}`)})`,
          ],
        ],
      },
      {
        title: "Paused",
        question: "Has someone paused a deploy and forgotten it?",
        kind: "lines",
        width: 8,
        max: 1,
        queries: [["{{service}}", `max by (service) (handoffd_deploy_paused{${OURS}})`]],
      },
    ],
  },
  {
    title: "Instances",
    panels: [
      {
        title: "Instances",
        question: "How many processes run for each role, and in which state?",
        kind: "stacked",
        width: 12,
        queries: [
          [
            "{{service}} {{role}} {{state}}",
            `sum by (service, role, state) (handoffd_service_instances{${OURS}})`,
          ],
        ],
      },
      {
        title: "Exits",
        question: "Do processes end that nobody has told to?",
        kind: "bars",
        width: 12,
        queries: [
          [
            "{{service}} {{reason}}",
            `sum by (service, reason) (${atEach(`handoffd_instance_exits_total{${OURS}}`)})`,
          ],
        ],
      },
      {
        title: "Restarts",
        question: "Does an instance flap?",
        kind: "bars",
        width: 8,
        queries: [
          ["{{service}}", `sum by (service) (${atEach(`handoffd_instance_restarts_total{${OURS}}`)})`],
        ],
      },
      {
        title: "Handing over",
        question: "How long does a new process wait for its sockets?",
        kind: "lines",
        width: 8,
        unit: "s",
        queries: [
          ["median", `${quantile(0.5, "handoffd_handoff_duration_seconds", HERE)} >= 0`],
          ["p99", `${quantile(0.99, "handoffd_handoff_duration_seconds", HERE)} >= 0`],
        ],
      },
      {
        title: "Descriptors handed over",
        question: "How many listening sockets do new processes get?",
        kind: "bars",
        width: 8,
        queries: [
          ["{{instance}}", `sum by (instance) (${atEach(`handoffd_descriptors_passed_total{${HERE}}`)})`],
        ],
      },
    ],
  },
  {
    title: "Drains",
    panels: [
      {
        title: "Drain under way",
        question: "For how long has the oldest generation that still drains been at it?",
        kind: "lines",
        width: 8,
        unit: "s",
        queries: [
          ["{{service}}", `time() - min by (service) (handoffd_drain_start_timestamp_seconds{${OURS}})`],
        ],
      },
      {
        title: "Drains",
        question: "How long do old generations take to finish their work? Compare with drain.timeout.",
        kind: "lines",
        width: 8,
        unit: "s",
        queries: [
          ["{{service}} median", `${quantile(0.5, "handoffd_drain_duration_seconds", OURS, "service")} >= 0`],
          ["{{service}} p95", `${quantile(0.95, "handoffd_drain_duration_seconds", OURS, "service")} >= 0`],
        ],
      },
      {
        title: "Connections cut, by service",
        question: "Whose drain.timeout is too short?",
        kind: "bars",
        width: 8,
        queries: [
          ["{{service}}", `sum by (service) (${atEach(`handoffd_drain_cut_connections_total{${OURS}}`)})`],
        ],
      },
      {
        title: "Connections moved",
        question:
          "How many connections went to another process without being closed, and how many were to and did not?",
        kind: "bars",
        width: 8,
        queries: [
          ["{{service}}", `sum by (service) (${atEach(`handoffd_connections_moved_total{${OURS}}`)})`],
          [
            "{{service}} not taken",
            `sum by (service) (${atEach(`handoffd_connections_move_failed_total{${OURS}}`)})`,
          ],
        ],
      },
    ],
  },
  {
    title: "The daemon",
    panels: [
      {
        title: "Up since",
        question: "When was the daemon started, and which version runs?",
        kind: "stat",
        width: 8,
        unit: "s",
        queries: [
          [
            "{{instance}} {{version}}",
            `(time() - handoffd_start_timestamp_seconds{${HERE}}) * on (instance, job) group_left (version) handoffd_build_info{${HERE}}`,
          ],
        ],
      },
      {
        title: "Recoveries, upgrades, state",
        question: "Has the daemon died, was it replaced, can it write its state down?",
        kind: "stat",
        width: 16,
        queries: [
          ["went on by {{source}}", `sum by (source) (handoffd_recoveries_total{${HERE}})`],
          ["upgrades {{result}}", `sum by (result) (handoffd_upgrades_total{${HERE}})`],
          ["state not written", `sum(${inRange(`handoffd_state_write_failures_total{${OURS}}`)})`],
          ["history not written", `sum(${inRange(`handoffd_history_write_failures_total{${HERE}}`)})`],
        ],
      },
      {
        title: "CPU",
        question: "What does the daemon itself cost? Idle, next to nothing.",
        kind: "stacked",
        width: 8,
        unit: "percentunit",
        queries: [
          ["{{instance}} user", `rate(process_cpu_user_seconds_total{${HERE}}[$__rate_interval])`],
          ["{{instance}} system", `rate(process_cpu_system_seconds_total{${HERE}}[$__rate_interval])`],
        ],
      },
      {
        title: "Memory",
        question: "Does the daemon grow?",
        kind: "lines",
        width: 8,
        unit: "bytes",
        queries: [
          ["{{instance}} resident", `process_resident_memory_bytes{${HERE}}`],
          ["{{instance}} heap in use", `nodejs_heap_size_used_bytes{${HERE}}`],
        ],
      },
      {
        title: "Descriptors",
        question: "Does the daemon leak descriptors, or come near its limit?",
        kind: "lines",
        width: 8,
        queries: [
          ["{{instance}} open", `process_open_fds{${HERE}}`],
          ["{{instance}} limit", `process_max_fds{${HERE}}`],
        ],
      },
      {
        title: "Event loop",
        question: "Does something hold the daemon up: its own work, or the garbage collector?",
        kind: "lines",
        width: 12,
        unit: "s",
        queries: [
          ["{{instance}} lag", `nodejs_eventloop_lag_seconds{${HERE}}`],
          [
            "{{instance}} collecting garbage, seconds a second",
            `sum by (instance) (rate(nodejs_gc_duration_seconds_sum{${HERE}}[$__rate_interval]))`,
          ],
        ],
      },
      {
        title: "Scrapes",
        question: "What does a look at these metrics cost?",
        kind: "lines",
        width: 12,
        unit: "s",
        queries: [
          ["{{instance}}", `scrape_duration_seconds{${HERE}} * on (instance, job) handoffd_build_info`],
        ],
      },
    ],
  },
];

export const ANNOTATIONS = [
  {
    title: "Deploys",
    question: "From its acceptance to the end of its bake.",
    color: "blue",
    text: "{{service}} is deployed",
    query: `handoffd_deploy_in_progress{${OURS}} == 1`,
  },
  {
    title: "Users moved",
    question: "Another generation became current: a deploy, or a way back.",
    color: "green",
    text: "{{service}}: another generation is current",
    query: `changes(handoffd_service_generation{${OURS}, role="current"}[$__rate_interval]) > 0`,
  },
  {
    title: "Failed deploys",
    question: "A deploy failed or gave its users back.",
    color: "red",
    text: "{{service}}: {{result}}",
    query: `sum without (strategy) (${atEach(`handoffd_deploys_total{${OURS}, result=~"failed|rolled-back"}`)}) > 0`,
  },
  {
    title: "Daemon starts",
    question: "The daemon was started again. An upgrade is not a start.",
    color: "orange",
    text: "handoffd on {{instance}} was started",
    // Not by changes(): from the last scrape before to the first one after it may be longer than any interval.
    query: `time() - handoffd_start_timestamp_seconds{${HERE}} < 60`,
  },
];
