/**
 * The npm package socket.io on Node: `node socket_io.mjs PORT`. The query names a room; what a client emits as
 * `message` goes to all others in it.
 */
import { createRequire } from "node:module";

const { Server } = createRequire(`${process.env.PEERS}/`)("socket.io");
// The load generator does not answer pings.
const server = new Server({ transports: ["websocket"], serveClient: false, pingInterval: 3_600_000 });
server.on("connection", (socket) => {
  const { room } = socket.handshake.query;
  socket.join(room);
  socket.on("message", (data) => socket.to(room).emit("message", data));
});
server.listen(Number(process.argv[2]));
