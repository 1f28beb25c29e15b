/** The runtime alone, which no server on it can be faster than: `deno run deno.mjs PORT`. A path is a room. */
const rooms = new Map();
Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.args[0]), onListen() {} }, (request) => {
  if (request.headers.get("upgrade") !== "websocket") return new Response("a WebSocket", { status: 400 });
  const { pathname } = new URL(request.url);
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 3_600 });
  const room = rooms.get(pathname) ?? new Set();
  rooms.set(pathname, room.add(socket));
  socket.onmessage = ({ data }) => {
    for (const other of room) if (other !== socket) other.send(data);
  };
  socket.onclose = () => room.delete(socket);
  return response;
});
