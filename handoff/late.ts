/**
 * Modules of Node's that a daemon's start does not need until its listeners listen, or ever: each takes two to five milliseconds to
 * load, and an `import` would load it at once. Here the first use does. They are in Node's own program: no file is read.
 */
export const late = {
  get childProcess() {
    return process.getBuiltinModule("node:child_process");
  },
  get consumers() {
    return process.getBuiltinModule("node:stream/consumers");
  },
  get crypto() {
    return process.getBuiltinModule("node:crypto");
  },
  get http() {
    return process.getBuiltinModule("node:http");
  },
  get https() {
    return process.getBuiltinModule("node:https");
  },
  get tls() {
    return process.getBuiltinModule("node:tls");
  },
};
