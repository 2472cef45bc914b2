/** What can fail while descriptors move. The codes are stable; docs/errors.md lists them. */
import { CodedError } from "./coded-error.ts";

/** A peer's nonsense: the channel is closed. */
export function violation(what: string, cause?: unknown): CodedError {
  return new CodedError("HANDOFF_VIOLATION", `the peer broke the protocol: ${what}; the channel was closed`, {
    cause,
  });
}

export function descriptorsLost(): CodedError {
  return new CodedError(
    "HANDOFF_DESCRIPTORS_LOST",
    "descriptors were lost on the way (MSG_CTRUNC): the receiver is at its limit of open files; raise RLIMIT_NOFILE (LimitNOFILE= in a unit)",
  );
}

export function peerGone(during: string, cause?: unknown): CodedError {
  return new CodedError("HANDOFF_PEER_GONE", `the other process ended during ${during}`, { cause });
}

export function timedOut(during: string, ms: number): CodedError {
  return new CodedError("HANDOFF_TIMEOUT", `${during} took longer than ${ms} ms`);
}

export function identityMismatch(name: string): CodedError {
  return new CodedError(
    "HANDOFF_IDENTITY_MISMATCH",
    `the descriptor for ${name} arrived as another one than was sent; nothing was started with it`,
  );
}

/** The launcher reported a failing step (docs/wire.md, FAIL). */
export function launchFailed(step: string, errno: number, errnoName: string, text: string): CodedError {
  return new CodedError("LAUNCH_FAILED", launchSentence(step, errnoName, text), {
    details: { step, errno, errnoName, text },
  });
}

function launchSentence(step: string, errnoName: string, text: string): string {
  switch (step) {
    case "exec":
      if (errnoName === "ENOENT") {
        return `command not found: ${text}; give a path, or a name that PATH of the service's environment finds`;
      }
      if (errnoName === "EACCES") {
        return `cannot execute ${text}: permission denied; make it executable (chmod +x) for the service's user`;
      }
      if (errnoName === "ENOEXEC") {
        return `cannot execute ${text}: not a program; does the script begin with "#!"?`;
      }
      return `cannot execute ${text}: ${errnoName}`;
    case "directory":
      return `cannot enter the directory ${text}: ${
        errnoName === "ENOENT" ? "it does not exist; was this version installed?" : errnoName
      }`;
    case "identity":
      return `cannot change to the service's user: ${errnoName} (${text}); the daemon must run as root for that`;
    case "limits":
      return `cannot set the ${text}: ${errnoName}; it may be above the daemon's own hard limit`;
    default:
      return `the launcher failed at "${step}": ${errnoName} (${text})`;
  }
}

export function addressInUse(address: string, holder: string | null, cause: unknown): CodedError {
  return new CodedError(
    "LISTENER_ADDRESS_IN_USE",
    `cannot listen on ${address}: it is already in use${holder === null ? "" : ` by ${holder}`}; end that process or choose another address`,
    { cause },
  );
}

export function cannotListen(address: string, why: string, cause: unknown): CodedError {
  return new CodedError("LISTENER_CANNOT_OPEN", `cannot listen on ${address}: ${why}`, { cause });
}

export function foreignMember(address: string, holders: string): CodedError {
  return new CodedError(
    "LISTENER_FOREIGN_MEMBER",
    `${holders} listens on ${address} as well (SO_REUSEPORT under the daemon's user): which process gets a connection could no longer be decided here; make it use the inherited descriptor (LISTEN_FDS, number 3), or run the service as another user`,
  );
}

export function slotNotProved(address: string, index: number, what: string): CodedError {
  return new CodedError(
    "LISTENER_SLOT_NOT_PROVED",
    `slot ${index} of ${address} is not where the kernel should have put it (${what}); no traffic was moved`,
  );
}

export function keeperFailed(what: string, cause?: unknown): CodedError {
  return new CodedError(
    "KEEPER_FAILED",
    `the keeper ${what}; listening sockets are not held outside the daemon`,
    {
      cause,
    },
  );
}

/** systemd drops what does not fit without a word (systemd.service(5), FileDescriptorStoreMax=). */
export function keeperFull(max: number): CodedError {
  return new CodedError(
    "KEEPER_FULL",
    `systemd's fdstore is full: it takes ${max} descriptors; raise FileDescriptorStoreMax= of the unit (one for each slot of each listener, and one for each instance)`,
  );
}

export function journalUnreachable(socket: string, why: string, cause: unknown): CodedError {
  return new CodedError(
    "JOURNAL_UNREACHABLE",
    `the journal cannot be written to: ${socket}: ${why}; use output: inherit, or a file's path`,
    { cause },
  );
}

/** In an application (app.ts): handoffd and the program do not agree on a name. */
export function noSuchListener(name: string, names: readonly string[]): CodedError {
  return new CodedError(
    "APP_NO_SUCH_LISTENER",
    `no listening socket named "${name}" was given that is not served yet; there are: ${names.join(", ")} (the service's listeners: names them)`,
  );
}

/** What systemd takes for a name (fdname_is_valid): printable ASCII, no colon, 255 characters at most. */
export function badStoreName(name: string): CodedError {
  return new CodedError(
    "APP_STORE_NAME",
    `"${name}" is no name for a stored descriptor: 1 to 255 characters of printable ASCII without a colon`,
  );
}
