// A chat whose web sockets survive deploys: the SDK moves each connection to the next generation between two messages, and its client
// notices nothing.
//
// What is said is a line of a file that every process follows, since for a moment the clients are spread over two generations. Each
// connection knows up to where it was told, and takes that along. What the old generation sends to a connection that is on its way is
// sent by the new one, so a line may come twice: it says where it stands in the file, and the page takes what comes after what it has.
import {
  appendFileSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  watch,
} from "node:fs";
import { createServer } from "node:http";
import { dirname } from "node:path";
import { serve } from "handoffd/app";
import { WebSocketServer } from "ws";

const { CHAT_FILE = "/tmp/handoffd-chat/said", HANDOFF_VERSION = "none" } = process.env;
const page = readFileSync(new URL("page.html", import.meta.url));

mkdirSync(dirname(CHAT_FILE), { recursive: true });
const file = openSync(CHAT_FILE, "a+");
/** For each connection, up to where in the file it was told. */
const told = new Map();

/** Whole lines only: another process may be writing the last one. */
function tell(socket) {
  const from = told.get(socket);
  const bytes = Buffer.alloc(fstatSync(file).size - from);
  readSync(file, bytes, 0, bytes.length, from);
  let end = 0;
  for (let start = 0; (end = bytes.indexOf("\n", start) + 1) > 0; start = end) {
    told.set(socket, from + end);
    socket.send(JSON.stringify({ at: from + end, ...JSON.parse(bytes.toString("utf8", start, end)) }));
  }
}

function follow(socket, from) {
  told.set(socket, from);
  socket.on("close", () => told.delete(socket));
  socket.on("message", (text) => {
    appendFileSync(CHAT_FILE, `${JSON.stringify({ text: String(text), by: HANDOFF_VERSION })}\n`);
  });
  tell(socket);
}

const server = createServer((request, response) => {
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end(page);
});
// Compression has a state that cannot move.
const chat = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 4096 });
chat.on("connection", (socket) => follow(socket, fstatSync(file).size));
const watcher = watch(CHAT_FILE, () => told.forEach((_, socket) => tell(socket)));
server.on("close", () => {
  watcher.close();
  closeSync(file);
});

await serve(server, {
  webSockets: {
    server: chat,
    save: (socket) => Buffer.from(String(told.get(socket))),
    restore: (socket, from) => follow(socket, Number(Buffer.from(from).toString())),
  },
});
