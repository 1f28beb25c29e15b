/** What tests of the JetStream engine share: one NATS server for all of a file, and streams with several nodes each. */
import {
  type JetStreamEngine,
  type JetStreamEngineOptions,
  openJetStreamEngine,
} from "../../../lib/engines/jetstream/engine.ts";
import type { Message } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { NATS_SERVER, NatsCluster } from "../../nats_cluster.ts";

/** Why the tests are skipped; undefined when they are not. */
export const SKIPPED = NATS_SERVER === undefined
  ? "no nats-server on the PATH, and none could be installed"
  : undefined;

let streams = 0;

/** A name no other stream of this run has. */
export function nameStream(): string {
  return `test-${++streams}`;
}

/** A node, with all that it announced. */
export interface TestNode extends AsyncDisposable {
  readonly log: JetStreamEngine;
  readonly logger: RecordingLogger;
  readonly announced: Message[];
  readonly resets: string[];
}

export type NodeOptions = Partial<Omit<JetStreamEngineOptions, "servers">> & { readonly hosts: string };

/** Opens a node on a stream. */
export async function openNode(options: NodeOptions): Promise<TestNode> {
  const logger = new RecordingLogger();
  const log = await openJetStreamEngine({
    tls: false,
    stream: "raindrops",
    replicas: 1,
    rules: new Rules([]),
    logger,
    ...options,
    servers: options.hosts.split(","),
  });
  const announced: Message[] = [];
  const resets: string[] = [];
  log.onStored = (messages) => void announced.push(...messages);
  log.onReset = (reason) => void resets.push(reason);
  return { log, logger, announced, resets, [Symbol.asyncDispose]: () => log[Symbol.asyncDispose]() };
}

/** Runs a test where there is a server, and says why it does not elsewhere. */
export function testWithNats(name: string, body: () => Promise<void>): void {
  const ignore = SKIPPED !== undefined;
  Deno.test({ name: ignore ? `${name} (skipped: ${SKIPPED})` : name, ignore, fn: body });
}

/** A server for a test that kills it, or wants it to be its own. */
export function startServer(configuration?: string): Promise<NatsCluster> {
  return NatsCluster.start(1, configuration);
}
