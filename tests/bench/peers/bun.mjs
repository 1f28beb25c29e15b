/** Bun's own publish: `bun bun.mjs PORT`. A path is a topic; what a WebSocket sends goes to all others on it. */
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (request.method === "POST") {
      server.publish(pathname, await request.text());
      return new Response("published");
    }
    if (server.upgrade(request, { data: { topic: pathname } })) return undefined;
    return new Response("a WebSocket, or a POST", { status: 400 });
  },
  websocket: {
    idleTimeout: 0,
    // As much as may wait for a reader in Raindrops. Beyond it Bun drops messages.
    backpressureLimit: 4 * 1024 * 1024,
    open(socket) {
      socket.subscribe(socket.data.topic);
    },
    message(socket, message) {
      socket.publish(socket.data.topic, message);
    },
  },
});
