/**
 * ws on Node in a `cluster`, which is how it uses several cores: `node ws_cluster.mjs PORT PROCESSES`. Each process has
 * sockets of its own, frames a message once and writes the same bytes to all of a room; the primary passes what one process
 * gets on to the others.
 */
import cluster from "node:cluster";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Sender, WebSocket, WebSocketServer } = createRequire(`${process.env.PEERS}/`)("ws");
const [, , port, processes] = process.argv;

function startPrimary() {
  const workers = Array.from({ length: Number(processes) }, () => cluster.fork());
  for (const worker of workers) {
    worker.on("message", (message) => {
      for (const other of workers) if (other !== worker) other.send(message);
    });
  }
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      for (const worker of workers) worker.kill();
      process.exit(0);
    });
  }
}

function startWorker() {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  const rooms = new Map();
  const writeToEach = (url, sender, data, binary) => {
    const options = { fin: true, rsv1: false, opcode: binary ? 2 : 1, mask: false, readOnly: true };
    const frame = Buffer.concat(Sender.frame(data, options));
    for (const client of rooms.get(url) ?? []) {
      if (client !== sender && client.readyState === WebSocket.OPEN) client._socket.write(frame);
    }
  };
  process.on("message", ({ url, text, binary }) => {
    writeToEach(url, undefined, Buffer.from(text, binary ? "base64" : "utf8"), binary);
  });
  sockets.on("connection", (socket, { url }) => {
    const room = rooms.get(url) ?? new Set();
    rooms.set(url, room.add(socket));
    socket.on("message", (data, binary) => {
      process.send({ url, text: data.toString(binary ? "base64" : "utf8"), binary });
      writeToEach(url, socket, data, binary);
    });
    socket.on("close", () => room.delete(socket));
  });
  server.listen(Number(port), "127.0.0.1");
}

if (cluster.isPrimary) startPrimary();
else startWorker();
