/** Scheduled messages of the JetStream engine across a long downtime. */
import { testDowntime } from "../../suites/downtime_suite.ts";
import { nameStream, openNode, SKIPPED, startServer, testWithNats } from "./fixture.ts";

const server = SKIPPED === undefined ? await startServer() : undefined;
Deno.test.afterAll(() => server?.[Symbol.asyncDispose]());

testDowntime("JetStream", async (use) => {
  const stream = nameStream();
  await use(async (options) => (await openNode({ hosts: server!.hosts, stream, ...options })).log);
}, testWithNats);
