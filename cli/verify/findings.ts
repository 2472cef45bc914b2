/** What can be wrong with an application, as far as deploys are concerned. The codes are stable; docs/verify.md lists them. */

export const FINDINGS = {
  "binds-own-port": {
    cause: "It opens a listening socket of its own instead of accepting on the one that it is given.",
    fix: "Listen on descriptor 3 (LISTEN_FDS, systemd's socket activation): server.listen({ fd: 3 }) in Node, --fd 3, fd@3 or LISTEN_FDS in others. An address in its own configuration may have to go.",
  },
  "ignores-listen-fds": {
    cause: "It has the listening socket, and accepts nothing from it.",
    fix: "Accept on descriptor 3 (LISTEN_FDS, systemd's socket activation): server.listen({ fd: 3 }) in Node. If it needs longer to start, raise ready.timeout.",
  },
  "loses-descriptors": {
    cause:
      "The process that is started hands its work to a child, and the child has not inherited the socket.",
    fix: "Start the program itself: [node, server.js] instead of npm start, and exec in a shell script.",
  },
  "does-not-start": {
    cause: "It exits before it is ready.",
    fix: "See its last words. Two generations run side by side in a deploy: what only one process may have (a fixed port, a lock, a pid file) must not be needed, or strategy: recreate be used.",
  },
  "never-ready": {
    cause: "It is not ready within ready.timeout.",
    fix: "See whether ready.by fits it: READY=1 for notify, an accepting socket for listening, the expected status for http; or raise ready.timeout.",
  },
  "slow-to-be-ready": {
    cause:
      "It takes long to be ready. No client waits for that in a deploy, but whoever restarts it, rolls back later or holds it does.",
    fix: "Do less before it accepts, or allow for it: --ready-within, ready.timeout.",
  },
  "fails-verification": {
    cause: "It starts, and does not pass the checks of verify:.",
    fix: "See the reason; the checks must hold for a generation that no user has reached yet.",
  },
  "deploy-failed": {
    cause: "A deploy did not succeed.",
    fix: "See the reason.",
  },
  "closes-idle-connections": {
    cause:
      "When it is told to end it closes kept connections at once. A client that asks at that moment has its request lost, and does not know whether it was done.",
    fix: "On the signal only stop accepting; answer once more on each kept connection, with Connection: close, and close those that still rest after two seconds. In Node: not server.close(), which closes idle ones at once (Node 19 and later), nor closeIdleConnections().",
  },
  "exits-with-requests": {
    cause:
      "When it is told to end it exits, or closes connections, before it has answered what it had accepted.",
    fix: "On the signal stop accepting, finish the answers that are under way, then exit: server.close() and wait for it instead of process.exit(); a graceful timeout above 0 in application servers.",
  },
  "leaves-queue": {
    cause:
      "It is told to end only when its queue is empty, and does not take what waits there within drain.settle: clients wait for a process that has stopped.",
    fix: "Accept faster: more instances, workers or threads, and no work between two accepts. Or raise drain.settle.",
  },
  "does-not-end": {
    cause: "It does not end within drain.timeout after the signal, and is killed; what it still had is cut.",
    fix: "Exit on drain.signal when the last answer is out; close connections that rest; end streams in good order. If it only needs longer: raise drain.timeout.",
  },
  "leaves-children": {
    cause: "Processes that it had started go on after it has ended.",
    fix: "End them and wait for them on the signal. One that keeps the listening socket also keeps its slot from the next generation.",
  },
  "leaks-descriptors": {
    cause: "It has more descriptors open after each batch of requests, although all connections are closed.",
    fix: "Close what each request opens: files, sockets, upstream connections, watchers. It would stop to accept at its limit of open files.",
  },
  "unlinks-socket": {
    cause:
      "It removes the path of its unix socket when it ends, and the next generation is not reached any more.",
    fix: "Leave the path alone when the socket was given (LISTEN_FDS): it belongs to who has made it.",
  },
  "exits-by-itself": {
    cause: "It exits although nobody has told it to.",
    fix: "See its last words and the exit status.",
  },
  "answers-otherwise": {
    cause: "During deploys it answers with another status than before.",
    fix: "A generation that is ready has to be able to answer: open what it needs before it says so. One that drains has to answer as before.",
  },
  "unexplained-loss": {
    cause: "Requests were lost, and nothing that is known of the application explains it.",
    fix: "See the table of what was lost, and the application's output (--output FILE).",
  },
} as const satisfies Record<string, { readonly cause: string; readonly fix: string }>;

export type FindingCode = keyof typeof FINDINGS;

export interface Finding {
  readonly code: FindingCode;
  readonly cause: string;
  /** What was seen, in figures. */
  readonly seen: string;
  readonly fix: string;
  /** Requests that were lost by it. */
  readonly lost: number;
}

export function finding(code: FindingCode, seen: string, lost = 0): Finding {
  return { code, seen, lost, ...FINDINGS[code] };
}
