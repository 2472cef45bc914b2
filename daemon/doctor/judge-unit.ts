/** Whether systemd does with the daemon what the promises need. Pure. The unit as it should be: packaging/systemd/. */
import type { Finding } from "../../admin-api/schemas.ts";
import type { Facts, UnitFacts } from "./facts.ts";
import { note, ok, problem, warning } from "./finding.ts";
import { storeNeed } from "./judge-limits.ts";

/** Since this one $FDSTORE says how much the store takes, and the store outlives a restart (systemd.service(5)). */
const WITH_STORE = 254;
/** A daemon that drains asks for more time every two seconds; less than this and one late message ends the drain. */
const LEAST_STOP_S = 10;

export function judgeUnit({ unit, config }: Facts): readonly Finding[] {
  if (unit === null) return [];
  const inUnit = `\`systemctl edit ${unit.name}\`, [Service]: `;
  return [
    version(unit),
    unit.needsReload
      ? warning(
          "systemd.unit",
          `the file of ${unit.name} has changed since systemd read it`,
          "systemctl daemon-reload; it touches nothing that runs",
        )
      : ok("systemd.unit", `${unit.name} is as its file says`),
    type(unit, inUnit),
    notifyAccess(unit, inUnit),
    ["process", "none"].includes(unit.killMode)
      ? ok("systemd.kill-mode", `KillMode=${unit.killMode}: the applications outlive the daemon`)
      : problem(
          "systemd.kill-mode",
          `KillMode=${unit.killMode}: when the daemon ends, crashes or is restarted, systemd kills every application with it`,
          `${inUnit}KillMode=process`,
        ),
    unit.restart === "always"
      ? ok("systemd.restart", "a daemon that ends is started again")
      : warning(
          "systemd.restart",
          `Restart=${unit.restart}: the applications serve on without a daemon, but nobody is there for the next deploy, or for an instance that exits`,
          `${inUnit}Restart=always`,
        ),
    unit.hasStopPost
      ? ok("systemd.stop-post", "a stop ends what a crashed daemon has left")
      : warning(
          "systemd.stop-post",
          "there is no ExecStopPost=: when the daemon has crashed, `systemctl stop` leaves its applications running",
          `${inUnit}ExecStopPost=+/usr/lib/handoffd/handoffd-stop-post %n`,
        ),
    stopTimeout(unit, inUnit),
    ...(config === null ? [] : [store(unit, storeNeed(config), inUnit)]),
  ];
}

function version({ systemd }: UnitFacts): Finding {
  if (systemd === null)
    return note(
      "systemd.version",
      "the version of systemd is not known",
      "see whether `systemctl --version` answers",
    );
  if (systemd >= WITH_STORE) return ok("systemd.version", `systemd ${systemd} can hold the sockets`);
  return note(
    "systemd.version",
    `systemd ${systemd} does not say what its store holds, so handoff-keeper holds the sockets`,
    "nothing has to be done; with systemd 254 PID 1 can hold them, and the clients of the API wait over a restart",
  );
}

function type({ type: is, isOurs }: UnitFacts, inUnit: string): Finding {
  if (is === "notify" || is === "notify-reload") return ok("systemd.type", `Type=${is}`);
  return problem(
    "systemd.type",
    `Type=${is}: systemd does not wait until the daemon is ready${isOurs ? "" : ", and does not hear it"}`,
    `${inUnit}Type=notify`,
  );
}

function notifyAccess({ notifyAccess: is }: UnitFacts, inUnit: string): Finding {
  if (is === "main" || is === "exec")
    return ok("systemd.notify-access", `NotifyAccess=${is}: only the daemon speaks for the unit`);
  if (is === "all") {
    return warning(
      "systemd.notify-access",
      "NotifyAccess=all: any application can say that the unit is ready or stopping, or take sockets out of its store",
      `${inUnit}NotifyAccess=main`,
    );
  }
  return problem(
    "systemd.notify-access",
    `NotifyAccess=${is}: systemd does not hear the daemon, so a start does not become ready and a drain is not waited for`,
    `${inUnit}NotifyAccess=main`,
  );
}

function stopTimeout({ stopTimeoutS, notifyAccess: access }: UnitFacts, inUnit: string): Finding {
  if (stopTimeoutS < LEAST_STOP_S || access === "none") {
    return problem(
      "systemd.stop-timeout",
      access === "none"
        ? `a drain that lasts longer than TimeoutStopSec=${stopTimeoutS}s is killed, since systemd does not hear that it needs more time`
        : `TimeoutStopSec=${stopTimeoutS}s is shorter than the ${LEAST_STOP_S} s in which a daemon that drains surely asks for more time`,
      access === "none" ? `${inUnit}NotifyAccess=main` : `${inUnit}TimeoutStopSec=30s`,
    );
  }
  const is = stopTimeoutS === Infinity ? "infinity" : `${stopTimeoutS}s`;
  return ok(
    "systemd.stop-timeout",
    `TimeoutStopSec=${is} is for a daemon that hangs; one that drains asks for drain.settle + drain.timeout as it goes`,
  );
}

function store({ fdstoreMax, systemd }: UnitFacts, need: number, inUnit: string): Finding {
  const fix = `${inUnit}FileDescriptorStoreMax=4096`;
  if (fdstoreMax === 0)
    return note("systemd.fdstore", "systemd holds no sockets, so handoff-keeper does", fix);
  if (fdstoreMax < need && (systemd ?? 0) >= WITH_STORE) {
    return warning(
      "systemd.fdstore",
      `the store takes ${fdstoreMax} sockets, and ${need} may be needed: when it is full all of them move to handoff-keeper`,
      fix,
    );
  }
  return ok("systemd.fdstore", `the store takes ${fdstoreMax} sockets, and ${need} may be needed`);
}
