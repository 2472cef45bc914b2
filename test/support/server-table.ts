/** The servers of docs/applications.md: where each comes from, and what its clients may expect of it. */

export interface Server {
  /** The program, and the Debian packages that it needs; null: Node, which is there, or Deno (deno.ts). */
  readonly program: readonly [name: string, packages: string] | null;
  /** How it says its version. */
  readonly version: readonly [file: string, ...args: string[]];
  /** The service that is deployed. */
  readonly service: "web" | "php";
  /** What new connections ask for. "/slow" takes a tenth of a second: some are under way whenever a generation ends. */
  readonly path: "/" | "/slow";
  /** What an answer tells: its generation, or only which process it is of. */
  readonly tells: "generation" | "instance";
  /** Whether it ends no kept connection under its client, however late that asks, as the example has it. */
  readonly isPolite: boolean;
  /** What is to be replaced in the example so that the server ends as it does by itself; null: that is how the example has it. */
  readonly plain: readonly (readonly [from: string, to: string])[] | null;
}

const APPLICATION = { service: "web", path: "/slow", tells: "generation", plain: null } as const;
const LAME_DUCK = { ...APPLICATION, isPolite: true } as const;
const CLOSE = ["net.Server.prototype.close.call(server)", "server.close()"] as const;

export const SERVERS = {
  gunicorn: {
    ...APPLICATION,
    program: ["gunicorn", "gunicorn"],
    version: ["gunicorn", "--version"],
    isPolite: false,
    plain: [["    signal.signal(signal.SIGTERM, drain)\n", ""]],
  },
  uvicorn: {
    ...APPLICATION,
    program: ["uvicorn", "uvicorn"],
    version: ["uvicorn", "--version"],
    isPolite: false,
    plain: [["signal: SIGUSR1", "signal: SIGTERM"]],
  },
  puma: { ...APPLICATION, program: ["puma", "puma"], version: ["puma", "--version"], isPolite: false },
  nginx: {
    ...APPLICATION,
    program: ["nginx", "nginx-light"],
    version: ["nginx", "-v"],
    tells: "instance",
    isPolite: false,
  },
  haproxy: {
    ...LAME_DUCK,
    program: ["haproxy", "haproxy"],
    version: ["haproxy", "-v"],
    plain: [["option idle-close-on-response", ""]],
  },
  lighttpd: {
    ...APPLICATION,
    program: ["lighttpd", "lighttpd"],
    version: ["lighttpd", "-v"],
    path: "/",
    isPolite: false,
  },
  "php-fpm": {
    ...LAME_DUCK,
    program: ["php-fpm8.2", "php8.2-fpm nginx-light libfcgi-bin"],
    version: ["php-fpm8.2", "-v"],
    service: "php",
  },
  go: {
    ...APPLICATION,
    isPolite: false,
    program: ["go", "golang-go"],
    version: ["go", "version"],
    plain: [["time.Sleep(2 * time.Second)", ""]],
  },
  node: {
    ...LAME_DUCK,
    program: null,
    version: ["node", "--version"],
    plain: [CLOSE],
  },
  fastify: {
    ...LAME_DUCK,
    program: null,
    version: ["node", "--version"],
    plain: [["net.Server.prototype.close.call(app.server, () => app.close())", "app.close()"]],
  },
  "node-cluster": {
    ...LAME_DUCK,
    program: null,
    version: ["node", "--version"],
    plain: [["net.Server.prototype.close.call(server, ", "server.close("]],
  },
  deno: { ...LAME_DUCK, program: null, version: ["deno", "--version"], plain: [CLOSE] },
} as const satisfies Record<string, Server>;

export type ServerName = keyof typeof SERVERS;

export const SERVER_NAMES = Object.keys(SERVERS) as readonly ServerName[];

export function serverOf(name: ServerName): Server {
  return SERVERS[name];
}
