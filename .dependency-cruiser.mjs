// The drawing of the house, held by the check: arrows only point down.
//   cli -> daemon -> admin-api -> deploy -> handoff
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
    // Deciding needs no package and nothing of Node's; what it takes from below must not bring any in either. That
    // it takes no global clock or timer is eslint's to hold.
    {
      name: "deploy-is-pure",
      severity: "error",
      from: { path: "^deploy/" },
      to: { pathNot: "^(deploy|handoff)/" },
    },
    {
      name: "deploy-is-pure-all-the-way-down",
      severity: "error",
      from: { path: "^deploy/" },
      to: { path: "^handoff/native\\.ts$", reachable: true },
    },
    {
      name: "one-importer-of-the-addon",
      severity: "error",
      from: { pathNot: "^handoff/native\\.ts$" },
      to: { path: "\\.node$" },
    },
    {
      name: "one-composition-root",
      severity: "error",
      from: { pathNot: "^(cli/handoffd|test/)" },
      to: { path: "^daemon/main\\.ts$" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    // The page is the browser's: of ours it knows what the API says and who may do what, and nothing that runs in Node.
    {
      name: "the-page-knows-the-api-only",
      severity: "error",
      from: { path: "^admin-api/dashboard/" },
      to: {
        pathNot:
          "^(admin-api/dashboard/|admin-api/(schemas|roles)\\.ts$|node_modules/(preact|uplot|@sinclair/typebox)/)",
      },
    },
    {
      name: "the-page-takes-types-of-the-schemas-only",
      severity: "error",
      from: { path: "^admin-api/dashboard/" },
      to: { path: "^admin-api/schemas\\.ts$", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "nobody-loads-the-page",
      severity: "error",
      from: { pathNot: "^(admin-api/dashboard/|test/)" },
      to: { path: "^admin-api/dashboard/" },
    },
    {
      name: "the-command-line-loads-no-server",
      severity: "error",
      from: { path: "^cli/(handoffctl|commands/)" },
      to: { path: "^(daemon/|node_modules/(fastify|pino|prom-client)/)", reachable: true },
    },
    {
      name: "the-sdk-is-light",
      severity: "error",
      from: { path: "^handoff/app(\\.ts$|/)" },
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
