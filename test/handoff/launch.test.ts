/** launch() with the real launcher and real programs; handoff-exec itself is spoken to in launcher.test.ts. */
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import type { Offer } from "../../handoff/grant.ts";
import {
  encodeSpecification,
  launch,
  launchFailure,
  type LaunchSpecification,
} from "../../handoff/launch.ts";
import { native, type ExitStatus } from "../../handoff/native.ts";
import type { Process } from "../../handoff/process.ts";
import { alive, environment, waitForExit } from "../support/processes.ts";
import { contentOf, expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

const DEADLINE_MS = 10_000;

let folder = "";
let nothing = -1;
let output = -1;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/launch-`);
  nothing = openSync("/dev/null", "r+");
  output = native.memfd("output");
});
afterEach(() => {
  native.close(nothing);
  native.close(output);
  rmSync(folder, { recursive: true });
});

function specification(
  command: readonly string[],
  more: Partial<LaunchSpecification> = {},
): LaunchSpecification {
  return {
    command,
    environment: environment(),
    directory: null,
    identity: null,
    umask: null,
    limits: [],
    nice: null,
    noNewPrivileges: false,
    keepChannel: false,
    deathSignal: null,
    ...more,
  };
}

it("a specification says its death signal by its number, and nothing where there is none", () => {
  const field = (deathSignal: NodeJS.Signals | null): string =>
    Buffer.from(encodeSpecification(specification(["true"], { environment: {}, deathSignal }))).toString(
      "hex",
    );
  // Key 43, 4 bytes, 10 (docs/wire.md).
  expect(field("SIGUSR1")).toBe(`${field(null)}2b000000040000000a000000`);
});

interface Ran {
  readonly status: ExitStatus;
  readonly failure: Error | null;
  readonly output: string;
}

/** Launches, waits for the end and releases everything. */
async function run(launched: LaunchSpecification, offers: readonly Offer[] = []): Promise<Ran> {
  const { process, channel } = await launch(launched, offers, [nothing, output, output], DEADLINE_MS);
  const status = await process.exit();
  const failure = launchFailure(channel);
  channel.close();
  process.release();
  return { status, failure, output: contentOf(output) };
}

describe("a program that runs", () => {
  it.each([
    [1000, 1024],
    [8192, 4096],
  ])("with a limit of %i descriptors has room for %i from the start", async (soft, room) => {
    const limits = [{ resource: 7, soft, hard: 8192 }];
    const ran = await run(specification(["grep", "FDSize", "/proc/self/status"], { limits }));
    expect(ran.output).toBe(`FDSize:\t${room}\n`);
  });

  it("has its descriptors from 3 on, in their order, and knows them by name", async () => {
    using one = new Descriptor(native.memfd("one"));
    using two = new Descriptor(native.memfd("two"));
    const script =
      'readlink /proc/$$/fd/3 /proc/$$/fd/4; echo "$LISTEN_FDS $LISTEN_FDNAMES"; test $LISTEN_PID = $$';
    const ran = await run(specification(["/bin/sh", "-c", script]), [
      { name: "web", fd: one.fd },
      { name: "state", fd: two.fd },
    ]);
    expect(ran).toEqual({
      status: { code: 0, signal: null },
      failure: null,
      output: "/memfd:one (deleted)\n/memfd:two (deleted)\n2 web:state\n",
    });
  });

  it("has exactly what its specification says", async () => {
    const ran = await run(
      specification(["sh", "-c", 'umask; pwd; ulimit -Sn; ulimit -Hn; nice; id -u; echo "$A"; env | wc -l'], {
        directory: "/tmp",
        umask: 0o027,
        limits: [{ resource: 7, soft: 100, hard: 200 }],
        nice: 5,
        identity: { uid: 65534, gid: 65534, groups: [] },
        noNewPrivileges: true,
        environment: { ...environment(), A: "b = c" },
      }),
    );
    expect(ran.output.split("\n").slice(0, 7)).toEqual(["0027", "/tmp", "100", "200", "5", "65534", "b = c"]);
    expect(ran.status).toEqual({ code: 0, signal: null });
  });

  it("gets its death signal from the kernel when we end", async () => {
    const asks =
      "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)";
    for (const [deathSignal, number] of [
      ["SIGTERM", 15],
      ["SIGKILL", 9],
      [null, 0],
    ] as const) {
      const ran = await run(specification(["python3", "-c", asks], { deathSignal }));
      expect([ran.failure, ran.output.trim().split("\n").at(-1)]).toEqual([null, String(number)]);
    }
  });

  it("keeps the channel where it is to", async () => {
    const script = "readlink /proc/$$/fd/$HANDOFF_FD | grep -c socket";
    const kept = await run(specification(["sh", "-c", script], { keepChannel: true }));
    expect(kept.output).toBe("1\n");
  });

  it("is written down before it is told what to run", async () => {
    let writtenDown: Process | null = null;
    const { process, channel } = await launch(
      specification(["true"]),
      [],
      [nothing, nothing, nothing],
      DEADLINE_MS,
      (spawned) => {
        writtenDown = spawned;
        expect(readFileSync(`/proc/${spawned.pid}/comm`, "utf8")).toBe("handoff-exec\n");
      },
    );
    expect(writtenDown).toBe(process);
    await process.exit();
    channel.close();
    process.release();
  });
});

describe("a program that cannot be started", () => {
  const failed = (failure: Error | null, status: ExitStatus): object => ({ failure, status });

  it("because it is not there is told so, with the way out", async () => {
    for (const name of ["no-such-program", "/nowhere/program"]) {
      const { failure, status } = await run(specification([name]));
      expect(failed(failure, status)).toMatchObject({
        failure: {
          code: "LAUNCH_FAILED",
          message: `command not found: ${name}; give a path, or a name that PATH of the service's environment finds`,
        },
        status: { code: 127 },
      });
    }
  });

  it("because it is not executable is told so, with the way out", async () => {
    const file = `${folder}/program`;
    writeFileSync(file, "#!/bin/sh\n");
    chmodSync(file, 0o644);
    const { failure } = await run(specification([file]));
    expect(failure?.message).toBe(
      `cannot execute ${file}: permission denied; make it executable (chmod +x) for the service's user`,
    );
  });

  it("because its directory is not there is told so, with the way out", async () => {
    const { failure } = await run(specification(["true"], { directory: `${folder}/41` }));
    expect(failure?.message).toBe(
      `cannot enter the directory ${folder}/41: it does not exist; was this version installed?`,
    );
  });

  it("because a limit is too high is told so", async () => {
    const { failure } = await run(
      specification(["true"], { limits: [{ resource: 7, soft: 2 ** 40, hard: 2 ** 40 }] }),
    );
    expect(failure?.message).toBe(
      "cannot set the limit 7: EPERM; it may be above the daemon's own hard limit",
    );
  });
});

it("a program that says nothing at its end has not failed to start", async () => {
  expect(await run(specification(["sh", "-c", "exit 3"]))).toEqual({
    status: { code: 3, signal: null },
    failure: null,
    output: "",
  });
});

it("a launcher that does not answer in time is killed, and nothing is left of it", async () => {
  let pid = 0;
  const launching = launch(specification(["true"]), [], [nothing, nothing, nothing], 20, (spawned) => {
    pid = spawned.pid;
    spawned.kill("SIGSTOP");
  });
  await expect(launching).rejects.toMatchObject({ code: "HANDOFF_TIMEOUT" });
  await waitForExit(pid);
  expect(alive(pid)).toBe(false);
});

it("a launcher that is killed before it answers fails the launch", async () => {
  const launching = launch(specification(["true"]), [], [nothing, nothing, nothing], DEADLINE_MS, (spawned) =>
    spawned.kill("SIGKILL"),
  );
  await expect(launching).rejects.toMatchObject({ code: "HANDOFF_PEER_GONE" });
});

it("a hundred are launched at once, each with its own descriptor", async () => {
  const all = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      using own = new Descriptor(native.memfd(`own-${i}`));
      const script = `test "$(readlink /proc/$$/fd/3)" = "/memfd:own-${i} (deleted)"`;
      const { process, channel } = await launch(
        specification(["/bin/sh", "-c", script]),
        [{ name: "own", fd: own.fd }],
        [nothing, output, output],
        DEADLINE_MS,
      );
      const status = await process.exit();
      channel.close();
      process.release();
      return status.code;
    }),
  );
  expect(all).toEqual(Array<number>(100).fill(0));
});
