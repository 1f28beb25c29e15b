/**
 * The npm package ws on Node: `node ws.mjs PORT loop|frame`. A path is a room; what a WebSocket sends goes to all
 * others in it: with `loop` by the package's own example, a send for each; with `frame` the way fast servers do it,
 * which frame a message once and write the same bytes to all.
 */
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Sender, WebSocket, WebSocketServer } = createRequire(`${process.env.PEERS}/`)("ws");
const [, , port, mode] = process.argv;
const server = createServer();
const sockets = new WebSocketServer({ server });
const rooms = new Map();

function sendToEach(room, sender, data, binary) {
  for (const client of room) {
    if (client !== sender && client.readyState === WebSocket.OPEN) client.send(data, { binary });
  }
}

function writeToEach(room, sender, data, binary) {
  const options = { fin: true, rsv1: false, opcode: binary ? 2 : 1, mask: false, readOnly: true };
  const frame = Buffer.concat(Sender.frame(data, options));
  for (const client of room) {
    if (client !== sender && client.readyState === WebSocket.OPEN) client._socket.write(frame);
  }
}

const passOn = mode === "frame" ? writeToEach : sendToEach;

sockets.on("connection", (socket, { url }) => {
  const room = rooms.get(url) ?? new Set();
  rooms.set(url, room.add(socket));
  socket.on("message", (data, binary) => passOn(room, socket, data, binary));
  socket.on("close", () => room.delete(socket));
});
server.listen(Number(port), "127.0.0.1");
