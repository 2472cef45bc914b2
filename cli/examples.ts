/** Command lines that one would type, for the manual pages and docs/cli.md. A test has each of them parsed. */

export interface Example {
  readonly line: string;
  /** What it is for, as the end of a sentence. */
  readonly does: string;
}

export const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  "handoffctl status": [
    { line: "handoffctl status", does: "what runs, and who gets the connections" },
    { line: "handoffctl status --json", does: "the same for a program, as GET /v1/status has it" },
  ],
  "handoffctl top": [{ line: "handoffctl top", does: "the same as it changes, until q" }],
  "handoffctl deploy": [
    { line: "handoffctl deploy api 42", does: "version 42, as the configuration says" },
    {
      line: "handoffctl deploy api 42 --strategy canary --step 5%,1m --step 50%,pause",
      does: "5 % for a minute, then half of the connections until someone continues",
    },
    { line: "handoffctl deploy api 42 --detach", does: "without waiting for the end" },
  ],
  "handoffctl wait": [
    { line: "handoffctl wait api", does: "the latest deploy of api" },
    { line: "handoffctl wait api-7", does: "this one" },
  ],
  "handoffctl promote": [{ line: "handoffctl promote api", does: "the rest of the connections now" }],
  "handoffctl pause": [{ line: "handoffctl pause api", does: "no further than this" }],
  "handoffctl continue": [{ line: "handoffctl continue api", does: "to the next step" }],
  "handoffctl abort": [
    { line: "handoffctl abort api --wait", does: "back to how it was, and wait for that" },
  ],
  "handoffctl rollback": [{ line: "handoffctl rollback api", does: "the release before this one" }],
  "handoffctl restart": [{ line: "handoffctl restart api", does: "the same release in new processes" }],
  "handoffctl scale": [{ line: "handoffctl scale api 4", does: "four instances from now on" }],
  "handoffctl hold": [{ line: "handoffctl hold api", does: "new connections wait, for a migration say" }],
  "handoffctl resume": [{ line: "handoffctl resume api", does: "and are served" }],
  "handoffctl end": [{ line: "handoffctl end api 3", does: "what drains is killed now" }],
  "handoffctl reload": [{ line: "handoffctl reload", does: "after the file was edited" }],
  "handoffctl listeners": [{ line: "handoffctl listeners", does: "slots, weights and queues" }],
  "handoffctl history": [
    { line: "handoffctl history api --limit 5", does: "the five latest deploys of api" },
  ],
  "handoffctl events": [{ line: "handoffctl events -f --json", does: "one document a line, as it happens" }],
  "handoffctl upgrade": [{ line: "handoffctl upgrade", does: "after a new version was installed" }],
  "handoffctl doctor": [{ line: "handoffctl doctor", does: "what to mend on this host" }],
  "handoffctl completion": [
    { line: "handoffctl completion fish", does: "for ~/.config/fish/completions/handoffctl.fish" },
  ],
  "handoffd run": [
    { line: "handoffd run -c /etc/handoffd/handoffd.yaml", does: "as the unit does it" },
    {
      line: "handoffd run --listen web=tcp:127.0.0.1:8080 -- node server.js",
      does: "one service, without a file",
    },
  ],
  "handoffd check": [{ line: "handoffd check -c handoffd.yaml", does: "before a reload" }],
  "handoffd verify": [
    { line: "handoffd verify -c handoffd.yaml api", does: "what api loses in deploys, and why" },
  ],
  "handoffd doctor": [{ line: "handoffd doctor -c handoffd.yaml", does: "before there is a daemon" }],
  "handoffd version": [{ line: "handoffd version", does: "for a report" }],
  "handoffd token new": [
    {
      line: "handoffd token new ci --role deploy --service api",
      does: "a token by which a pipeline deploys api",
    },
  ],
};
