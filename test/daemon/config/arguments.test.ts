import { expect, test } from "vitest";
import { configFromArguments } from "../../../daemon/config/arguments.ts";
import { HOST, refusalOf } from "./support.ts";

const command = ["node", "server.js"];

test("arguments make one service with the listeners in their order", () => {
  const config = configFromArguments(
    {
      listen: ["web=tcp:127.0.0.1:0", "ipc=unix:/tmp/a=b.sock"],
      command,
      runtime: "/tmp/run",
      state: "/tmp/state",
    },
    HOST,
  );
  expect(config.file).toBeNull();
  expect(config.paths).toEqual({ runtime: "/tmp/run", state: "/tmp/state" });
  expect(config.listeners.map(({ name }) => name)).toEqual(["web", "ipc"]);
  expect(config.listeners[1]?.address).toEqual({ kind: "unix", path: "/tmp/a=b.sock" });
  expect(config.services).toMatchObject([{ name: "app", command, listeners: ["web", "ipc"] }]);
});

test("arguments need no name for a single listener", () => {
  expect(configFromArguments({ listen: ["8080"], command }, HOST).listeners[0]?.name).toBe("main");
});

test.each([
  [["web=localhost:80"], command, "arguments: listeners.web.address:", "not a name"],
  [["a=1", "a=2"], command, 'the name "a" is used twice', "NAME=ADDRESS"],
  [["a=1"], [], "there is no command", "-- node server.js"],
  [["a b=1"], command, '"a b" cannot be used here', "rename it"],
])("the arguments %j %j are refused", (listen, program, ...phrases) => {
  const { code, message } = refusalOf(() => configFromArguments({ listen, command: program }, HOST));
  expect(code).toBe("CONFIG_INVALID");
  for (const phrase of phrases) expect(message).toContain(phrase);
});
