/** Files that are as they should be. */

/** The example of the design: every key that there is, but for what belongs to another strategy. */
export const DESIGN = `
listeners:
  web:   { address: "tcp:0.0.0.0:8080", backlog: 4096 }
  ipc:   { address: "unix:/run/app/ipc.sock", mode: "0660", group: app }
  adm:   { address: "systemd:adm" }
services:
  api:
    command: [node, server.js]
    directory: "/srv/api/releases/{version}"
    version: "41"
    environment: { NODE_ENV: production }
    user: api
    listeners: [web]
    instances: 2
    ready: { by: notify, timeout: 30s }
    verify:
      - { http: { listener: web, path: /healthz, expect: 200, count: 3 } }
      - { command: ["./smoke.sh"], timeout: 20s }
    deploy:
      strategy: canary
      steps: [ { weight: 5%, for: 1m }, { weight: 50%, for: 5m, pause: false } ]
      share: sticky
      pin: ["10.1.0.0/16"]
      bake: 1m
      watch: { exits: 1, queue: 10s }
      analysis: { prometheus: "http://127.0.0.1:9090", query: "up", max: 0.01, every: 15s, samples: 3, no_data: wait, deadline: 5m }
    drain: { signal: SIGTERM, settle: 5s, timeout: 30s }
    fdstore: { max: 64 }
    external: { allow: { uid: 1000 }, socket: "/run/handoffd/api.sock" }
    restart: { backoff: 1s..30s }
    output: inherit
admin:
  socket: { path: "/run/handoffd/admin.sock", mode: "0600", group: deploy, roles: { deploy: { group: deploy }, read: { uid: 998 } } }
  http:   { address: "127.0.0.1:9700", tokens: "/etc/handoffd/tokens", tls: { cert: /etc/handoffd/cert.pem, key: /etc/handoffd/key.pem, client_ca: /etc/handoffd/ca.pem } }
metrics:  { address: "127.0.0.1:9701" }
paths:    { runtime: "/run/handoffd", state: "/var/lib/handoffd" }
marks:    { base: 0x4a0000 }
keeper:   auto
log:      { level: info }
`;

/** Everything that this version does. */
export const FULL = `
listeners:
  web: { address: "[::]:8080", backlog: 100 }
  ipc: { address: "unix:/run/app/ipc.sock", mode: "0660", group: app }
  shop: { address: "127.0.0.1:8081" }
services:
  api:
    command: [node, server.js]
    directory: "/srv/api/releases/{version}"
    version: "1.10"
    environment: { PORT: "8080" }
    user: 1000
    group: app
    groups: [deploy]
    umask: "0027"
    limits: { nofile: 65536, core: { soft: 0, hard: infinity } }
    nice: -5
    no_new_privileges: true
    listeners: [web, ipc]
    instances: 2
    ready: { by: http, listener: ipc, path: /ready, expect: 204, timeout: 10s }
    verify:
      - http: { path: /healthz }
      - { command: [./smoke.sh], timeout: 5s }
    deploy: { share: random, pin: [], bake: 0s, watch: { exits: 2, queue: 30s } }
    drain: { signal: QUIT }
    output: /var/log/api.log
  worker:
    command: [./worker]
    instances: 4
    deploy: { strategy: rolling, floor: 3 }
  shop:
    command: [./shop]
    listeners: [shop]
    deploy:
      strategy: canary
      steps: [{ weight: 0, pause: true }, { weight: 0.05 }, { weight: 50.5%, for: 10m }, { weight: 75%, pause: true }]
      share: sticky
      pin: ["10.1.0.0/16", "2001:db8::/32"]
      watch: { exits: 0, queue: 0s }
      analysis: { prometheus: "https://prometheus.example/p/", query: 'errors{service="{service}",g="{generation}"}', min: -1, max: 0.5, timeout: 2s }
admin: { socket: { mode: "0660", group: deploy } }
marks: off
`;
