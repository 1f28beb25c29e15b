/**
 * Connects the JetStream engine over TCP with the transport of `@nats-io/transport-node`, working around one of its
 * bugs.
 *
 * The workaround imports modules from inside the package, which any release may move. So `deno.json` pins the package
 * to one version: before you raise it, run `tests/engines/jetstream` and see whether the package has fixed the bug.
 */
import type { Socket } from "node:net";
import type { ConnectionOptions, NatsConnection } from "@nats-io/transport-node";
import { NatsConnectionImpl, setTransportFactory } from "@nats-io/transport-node/lib/nats-base-client.js";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

/** @throws if none of the servers can be reached */
export function connectNats(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new PatientTransport(), dnsResolveFn: nodeResolveHost });
  return NatsConnectionImpl.connect(options);
}

class PatientTransport extends NodeTransport {
  override async dial(...args: Parameters<NodeTransport["dial"]>): Promise<Socket> {
    return ignoreLateErrors(await super.dial(...args));
  }

  override async startTLS(): ReturnType<NodeTransport["startTLS"]> {
    return ignoreLateErrors(await super.startTLS());
  }
}

/** After its listeners are removed, a socket that fails once more would raise an uncaught error. */
function ignoreLateErrors<T extends Socket>(socket: T): T {
  const removeAll = socket.removeAllListeners.bind(socket);
  socket.removeAllListeners = (...events: Parameters<typeof removeAll>) => {
    removeAll(...events);
    if (socket.listenerCount("error") === 0) socket.on("error", () => {});
    return socket;
  };
  return socket;
}
