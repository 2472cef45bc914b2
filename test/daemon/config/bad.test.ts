/** Each file of bad/ has one mistake. Each row says in which line it is found, and what the sentence must contain. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { loadConfig } from "../../../daemon/config/load.ts";
import { HOST, refusalOf, repositoryFile } from "./support.ts";

const BAD: readonly (readonly [file: string, line: number, phrases: readonly string[]])[] = [
  ["syntax-unclosed-list", 6, ["this is not YAML", "close what was opened"]],
  ["syntax-tab", 2, ["tabs are not allowed", "replace the tab"]],
  ["syntax-colon", 6, ["quote missing around a value that has a colon"]],
  [
    "duplicate-service",
    7,
    ["keys must be unique", "the second would silently win", "remove one or rename it"],
  ],
  ["two-documents", 7, ["multiple documents", 'remove the "---"']],
  ["merge-key", 4, ["merge keys", "not part of YAML 1.2", "write the keys out"]],
  ["alias-without-anchor", 7, ["the alias *level has no anchor", "write &level"]],
  ["tag", 7, ["unresolved tag", "remove it"]],
  ["old-yaml", 1, ["another YAML than 1.2", "remove %YAML"]],
  ["key-is-a-mapping", 7, ["a key here is not a word", "a quote missing"]],
  ["empty", 1, ["the file is empty", "nothing to listen on", 'write "listeners:"']],
  ["not-a-mapping", 1, ["not a mapping", 'begin with "listeners:"']],
  [
    "unknown-section",
    1,
    ['"listners" is not a key here', "would have no effect", 'did you mean "listeners"?'],
  ],
  ["unknown-key", 7, ['did you mean "environment"?']],
  ["unknown-key-far", 7, ['"zzz" is not a key here', 'there is "command"']],
  ["unknown-nested-key", 7, ["services.api.drain.singal", 'did you mean "signal"?']],
  ["service-without-command", 4, ['"command" is missing', "The program and its arguments", "add command:"]],
  ["service-without-value", 4, ["there is no value", "write it or remove the key"]],
  ["command-is-text", 5, ['"node server.js" is text', "because there is no shell", "[node, server.js]"]],
  ["command-empty", 5, ["the list is empty", "fill it"]],
  ["command-empty-program", 5, ["the program is empty text", "name a program"]],
  ["command-number", 5, ["5 is a number", "needed is text", 'write it in quotes: "5"']],
  ["environment-number", 8, ["8080 is a number", 'write it in quotes: "8080"']],
  ["environment-boolean", 7, ["true is a boolean", 'write it in quotes: "true"']],
  ["environment-name", 7, ['"MY-VAR" cannot be used here', 'letters, digits and "_"', "rename it"]],
  ["environment-reserved", 7, ["LISTEN_FDS is set by handoffd", "remove it"]],
  ["environment-file-missing", 7, ["cannot be read", "ENOENT", "correct the path"]],
  ["version-number", 7, ["1.10 is a number", "1.10 into 1.1", 'write it in quotes: "1.10"']],
  ["version-pattern", 7, ['"../etc" does not fit', "beginning with a letter or digit"]],
  ["version-missing", 7, ['{version} is used and there is no "version"', "add version:"]],
  ["directory-placeholder", 7, ["{release} is not known", "only {version}"]],
  [
    "directory-relative",
    7,
    ['"releases/41" is not absolute', "where the daemon was started", 'from the "/" on'],
  ],
  ["user-unknown", 7, ['the user "nobdy" does not exist', "getent passwd nobdy", "create it or correct"]],
  ["group-unknown", 7, ['the group "nogrp" does not exist', "getent group"]],
  ["umask", 7, ['"999" is not a mode', "three octal digits", '"0660"']],
  ["umask-number", 7, ["0027 is a number", 'write it in quotes: "0027"']],
  ["limit-name", 7, ['did you mean "nofile"?']],
  ["limit-order", 7, ["soft limit 65536 is above the hard limit 1024", "lower soft or raise hard"]],
  ["limit-text", 7, ['"many"', 'a whole number, "infinity"']],
  ["instances-zero", 7, ["0 is too small", "write 1 or more"]],
  ["instances-text", 7, ['"2" is text', "remove the quotes"]],
  ["nice", 7, ["40 is too large", "write 19 or less"]],
  ["listener-unknown", 6, ['there is no listener "webb"', 'did you mean "web"?']],
  [
    "listener-of-two-services",
    9,
    ['"web" belongs to the service "api" already', "add a listener or remove one"],
  ],
  ["listener-twice", 6, ["stands here twice", "remove one"]],
  ["listener-name", 3, ['"a:b" cannot be used here', "a letter, then letters", "rename it"]],
  [
    "duplicate-address",
    3,
    ['this is the address of the listener "web" already', "one of them only", "change one"],
  ],
  ["duplicate-unix-path", 3, ['this is the address of the listener "web" already']],
  ["listener-on-admin-socket", 2, ["the address of admin.socket already"]],
  ["address-name", 2, ['"localhost" is a name', "an address is needed, not a name", '"127.0.0.1:8080"']],
  ["address-udp", 2, ["asks for datagrams", "stream sockets only", 'use "tcp:"']],
  ["address-zone", 2, ["an IPv6 zone", "use an address without a zone"]],
  ["address-port", 2, ["the port 70000 is too large", "65535"]],
  ["address-bare-port", 2, ["8080 is a number", 'write it in quotes: "8080"']],
  ["address-protocol", 2, ['the protocol "http" is unknown', 'use "tcp:"']],
  ["address-unix-long", 2, ["115 bytes", "sun_path", "shorten it to 100"]],
  ["address-unix-relative", 2, ["the path must be absolute", "unix:@name"]],
  ["mode-on-tcp", 2, ['"mode" is for unix sockets with a path', "remove it"]],
  ["mode-number", 2, ["0660 is a number", "0660 into 660", 'write it in quotes: "0660"']],
  ["ready-kind", 7, ['"notfy" is not a proof of readiness', 'did you mean "notify"?']],
  ["ready-without-by", 7, ['"by" is missing', "add by: notify, listening, http, delay"]],
  ["ready-listener", 7, ['"admin" is not a listener of this service', 'there is "web"']],
  ["ready-http-without-listeners", 5, ["by: http needs a listener", "add listeners:"]],
  ["ready-http-path", 7, ['"healthz" does not fit', 'beginning with "/"']],
  ["ready-key-of-another-kind", 7, ['"path" is not a key here', 'there is "by", "timeout"']],
  ["ready-delay-too-long", 7, ["ends before the delay 1m is over", "make it longer"]],
  ["verify-both", 8, ["this has both", "make two entries"]],
  ["verify-timeout-zero", 8, ['"0s" leaves no time', '"30s"']],
  ["verify-http-without-listeners", 6, ["http needs a listener"]],
  ["duration-bare", 7, ['"30" has no unit', "seconds or milliseconds", 'write "30s"']],
  ["duration-words", 7, ['"30 seconds" is not a duration', '"1h30m"']],
  ["duration-long", 7, ["longer than a timer can run", '"24d"']],
  ["bake-negative", 7, ['"-1m" is negative', '"0s"']],
  ["steps-weights", 10, ["5% is not above the step before it", "reorder"]],
  ["step-weight-bare", 7, ['"5" has no unit', 'write "5%"']],
  ["step-weight-hundred", 7, ["above 0% and below 100%", 'write "5%"']],
  ["floor", 7, ["the floor 3 is above the 1 instances", "write at most 1"]],
  ["strategy", 7, ["is not one of blue-green", 'did you mean "blue-green"?']],
  ["pin", 7, ["is not a network", '"10.1.0.0/24"']],
  ["signal-unknown", 7, ['"SIGTREM" is not a signal', "SIGTERM"]],
  ["signal-number", 7, ['"15" is a number', "write the name"]],
  ["signal-kill", 7, ["SIGKILL cannot be handled", "SIGTERM"]],
  ["backoff-order", 7, ["begins above its end", 'write "1s..30s"']],
  ["backoff-single", 7, ["is not a range", '"1s..30s"']],
  ["output-relative", 7, ["neither inherit, journal nor an absolute path"]],
  ["admin-path-relative", 7, ['"admin.sock" is not absolute']],
  ["admin-mode", 7, ['"rw" is not a mode']],
  ["admin-role-group", 7, ['the group "deplyo" does not exist']],
  ["admin-role-empty", 7, ["the mapping is empty", "at least one of these keys"]],
  ["admin-http-open", 7, ["can be reached from other hosts", "use a loopback address"]],
  ["metrics-unix", 7, ["is not a TCP address"]],
  ["runtime-long", 7, ["the path has 95 bytes", "sun_path", "such as /run/handoffd"]],
  ["runtime-relative", 7, ['"run" is not absolute']],
  ["marks-multiple", 7, ["is not a multiple of 0x10000", "0x4a0000"]],
  ["marks-range", 7, ["too small", "65536"]],
  ["marks-text", 7, ['"on"', '"off", or a mapping']],
  ["keeper", 7, ["is not one of auto, off", "write one of them"]],
  ["log-level", 7, ['did you mean "info"?']],
];

const FOLDER = "test/daemon/config/bad";

test.each(BAD)("%s is refused with line %i, the reason and the way out", (name, line, phrases) => {
  const file = repositoryFile(`${FOLDER}/${name}.yaml`);
  const { code, message, problems: all } = refusalOf(() => loadConfig(file, HOST));
  expect(code).toBe("CONFIG_INVALID");
  // What is wrong is said of keys, too, that this version refuses in any case.
  const problems = all.filter((problem) => problem.code !== "CONFIG_NOT_YET");
  expect(problems.map((problem) => [problem.line, problem.text])).toEqual([[line, expect.any(String)]]);
  const text = problems[0]?.text ?? "";
  expect(text.startsWith(`${file}:${line}:${problems[0]?.column ?? 0}: `)).toBe(true);
  for (const phrase of phrases) expect(text).toContain(phrase);
  // What is wrong; why; the way out.
  expect(text.split("; ").length).toBeGreaterThan(1);
  expect(message).toContain(text);
});

test("every file of bad/ has a row", () => {
  const files = readdirSync(repositoryFile(FOLDER)).map((file) => file.replace(/\.yaml$/u, ""));
  expect(files.sort()).toEqual(BAD.map(([name]) => name).sort());
});
