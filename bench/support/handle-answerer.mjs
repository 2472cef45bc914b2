// The other end of child.send(message, handle): takes the server, closes it, acknowledges.
import process from "node:process";

process.on("message", (_message, server) => {
  server.close();
  process.send("taken");
});
process.send("ready");
