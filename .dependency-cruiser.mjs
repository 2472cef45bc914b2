// The drawing of the house, held by the check: arrows only point down.
//   cli -> daemon -> admin-api -> deploy -> handoff
const core = { path: "^(node:)?(fs|net|child_process|timers|http|dgram|os|worker_threads)(/|$)" };
const below = (room, ...others) => ({
  name: `${room}-imports-only-downwards`,
  severity: "error",
  from: { path: `^${room}/` },
  to: { path: `^(${others.join("|")})/` },
});

export default {
  forbidden: [
    below("handoff", "deploy", "admin-api", "daemon", "cli", "test"),
    below("deploy", "admin-api", "daemon", "cli", "test"),
    below("admin-api", "daemon", "cli", "test"),
    below("daemon", "cli", "test"),
    below("cli", "test"),
    { name: "deploy-is-pure", severity: "error", from: { path: "^deploy/" }, to: core },
    {
      name: "one-importer-of-the-addon",
      severity: "error",
      from: { pathNot: "^handoff/native\\.ts$" },
      to: { path: "\\.node$" },
    },
    {
      name: "one-composition-root",
      severity: "error",
      from: { pathNot: "^(daemon|cli/handoffd|test)" },
      to: { path: "^daemon/main\\.ts$" },
    },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    {
      name: "the-command-line-loads-no-server",
      severity: "error",
      from: { path: "^cli/(handoffctl|commands/)" },
      to: { path: "^(daemon/|node_modules/(fastify|pino|prom-client)/)", reachable: true },
    },
    {
      name: "the-sdk-is-light",
      severity: "error",
      from: { path: "^handoff/app" },
      to: { path: "^node_modules/", reachable: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
