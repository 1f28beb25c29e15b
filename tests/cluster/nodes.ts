/** Several real servers on one JetStream, and a balancer in front of them: what the tests of clusters start. */
import { TcpProxy } from "../fakes/tcp_proxy.ts";
import { NatsCluster } from "../nats_cluster.ts";
import { type ServerProcess, startServer } from "../server_process.ts";

/** The name of the stream. */
export const STREAM = "test";

export interface NodesOptions {
  /** How many servers. */
  readonly nodes: number;
  /** How many NATS servers, each of which keeps all messages. */
  readonly natsServers: 1 | 3;
  /** Channel rules. */
  readonly rules?: readonly unknown[];
  /** Flags beyond those of the cluster. */
  readonly flags?: readonly string[];
}

export class Nodes implements AsyncDisposable {
  readonly nats: NatsCluster;
  readonly servers: readonly ServerProcess[];
  /** Passes connections on to the servers in turn. */
  readonly balancer: TcpProxy;
  readonly #rules: string;

  private constructor(nats: NatsCluster, servers: readonly ServerProcess[], rules: string) {
    this.nats = nats;
    this.servers = servers;
    this.balancer = new TcpProxy(...servers.map(({ port }) => port));
    this.#rules = rules;
  }

  /** Starts everything; resolves when the servers know each other. */
  static async start({ nodes, natsServers, rules = [], flags = [] }: NodesOptions): Promise<Nodes> {
    const nats = await NatsCluster.start(natsServers);
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, JSON.stringify(rules));
    const log = `nats://${nats.hosts}?stream=${STREAM}&replicas=${natsServers}`;
    const servers: ServerProcess[] = [];
    for (let i = 0; i < nodes; i++) {
      servers.push(
        await startServer({
          flags: [
            "--engine",
            log,
            "--rules",
            file,
            "--node-name",
            `node${i + 1}`,
            "--log-level",
            "debug",
            ...flags,
          ],
        }),
      );
      // The first creates the stream; each later one hears of those before it.
      if (i > 0) await servers[i]!.line(new RegExp(`node found .*nodes=${i + 1}`));
    }
    await Promise.all(servers.map((server) => server.line(new RegExp(`node found .*nodes=${nodes}`))));
    return new Nodes(nats, servers, file);
  }

  get urls(): readonly string[] {
    return this.servers.map(({ url }) => url);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.balancer[Symbol.asyncDispose]();
    await Promise.all(this.servers.map((server) => server.stop()));
    await this.nats[Symbol.asyncDispose]();
    await Deno.remove(this.#rules);
  }
}

/** Publishes over HTTP; resolves to the answer, its body read as JSON if it is an object. */
export async function post(
  url: string,
  body: string,
  headers: Record<string, string> = {},
  // deno-lint-ignore no-explicit-any -- answers are looked into by the tests that know what they asked for
): Promise<{ readonly status: number; readonly headers: Headers; readonly body: any }> {
  const response = await fetch(url, { method: "POST", body, headers });
  const text = await response.text();
  const { status } = response;
  return { status, headers: response.headers, body: text.startsWith("{") ? JSON.parse(text) : text };
}

/** The ids of who is on a channel, as a node sees it. */
export async function getPresence(url: string, channel: string): Promise<string[]> {
  const response = await fetch(`${url}/${channel}?presence`);
  const { members } = await response.json() as { members: { id: string }[] };
  return members.map(({ id }) => id).sort();
}

/** Resolves when so many are on a channel, as each of the nodes sees it. */
export async function waitForPresence(
  servers: readonly { readonly url: string }[],
  channel: string,
  count: number,
): Promise<void> {
  for (const { url } of servers) {
    while ((await getPresence(url, channel)).length < count) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** The node that sends webhooks, as all say. */
export async function findSender(servers: readonly ServerProcess[]): Promise<ServerProcess> {
  while (true) {
    const sends = await Promise.all(servers.map(async ({ url }) => {
      const { webhooks } = await (await fetch(`${url}/_inspect/webhooks`)).json();
      return webhooks[0].sends === true;
    }));
    const [sender, ...others] = servers.filter((_, i) => sends[i]);
    if (sender !== undefined && others.length === 0) return sender;
  }
}
