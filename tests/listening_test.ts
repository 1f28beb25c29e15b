/** What a server says that cannot listen: it ends with status 1 and one sentence, over each listener. Real processes. */
import assert from "node:assert/strict";
import { createCertificate } from "./certificate.ts";

const SERVER = new URL("../server.ts", import.meta.url);

/** An address that documentation is written with, and no machine has (RFC 5737). */
const FOREIGN = "203.0.113.7";

/** Long enough for any start; a server that neither listens nor ends is killed then. */
const START_MILLISECONDS = 60_000;

const ALL = ["--allow-all"];
/** Permissions that cover this machine alone. */
const LOOPBACK = ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read", "--allow-env"];

const WAYS: readonly (readonly string[])[] = [
  ["--listener", "deno"],
  ["--listener", "node"],
  ["--listener", "node", "--workers", "2"],
];

interface Case {
  readonly what: string;
  readonly permissions: readonly string[];
  /** What starts the runtime with fewer rights. */
  readonly before?: readonly string[];
  flags(busy: number): readonly string[];
  said(busy: number): RegExp;
}

const foreign = ["--host", FOREIGN, "--open"];
const cure =
  /permissions do not suffice to listen on \S+ \(.*\): use .*deno task serve instead.*--allow-net=/;
const notOurs = new RegExp(`^${FOREIGN.replaceAll(".", "\\.")} is no address of this machine: .*--host`);
const inUse = (flag: string) => (busy: number) =>
  new RegExp(`^Port ${busy} on 127\\.0\\.0\\.1 is in use: choose another with ${flag}, or ${flag} 0 `);

const CASES: readonly Case[] = [
  {
    what: "an address that is not permitted",
    permissions: LOOPBACK,
    flags: () => [...foreign, "--port", "0"],
    said: () => cure,
  },
  {
    what: "an address of IPv6 that is not permitted",
    permissions: LOOPBACK,
    flags: () => ["--host", "::2", "--open", "--port", "0"],
    said: () => /listen on ::2 .*--allow-net=\[::2\] /,
  },
  {
    what: "a name that is not permitted",
    permissions: LOOPBACK,
    flags: () => ["--host", "localhost", "--port", "0"],
    said: () => cure,
  },
  {
    what: "a port for MQTT that is not permitted",
    permissions: ["--no-prompt", "--allow-net=127.0.0.1:0", "--allow-read", "--allow-env"],
    flags: (busy) => ["--port", "0", "--mqtt-port", String(busy)],
    said: () => cure,
  },
  {
    what: "an address of another machine",
    permissions: ALL,
    flags: () => [...foreign, "--port", "0"],
    said: () => notOurs,
  },
  {
    what: "an address of another machine, with a port for MQTT",
    permissions: ALL,
    flags: () => [...foreign, "--port", "0", "--mqtt-port", "0"],
    said: () => notOurs,
  },
  {
    what: "a name that leads nowhere",
    permissions: ALL,
    flags: () => ["--host", "raindrops.invalid", "--open", "--port", "0"],
    said: () => /^Cannot listen on port 0 of raindrops\.invalid, which --port and --host name: /,
  },
  {
    what: "a port that is in use",
    permissions: ALL,
    flags: (busy) => ["--port", String(busy)],
    said: inUse("--port"),
  },
  {
    what: "a port for MQTT that is in use",
    permissions: ALL,
    flags: (busy) => ["--port", "0", "--mqtt-port", String(busy)],
    said: inUse("--mqtt-port"),
  },
];

/** Those that need a port which only a privileged user has, and a program that gives such rights up. */
const dropRights = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
const mayDrop = Deno.build.os === "linux" && Deno.uid() === 0 &&
  (await new Deno.Command(dropRights[0]!, { args: [...dropRights.slice(1), "true"] }).output()
      .catch(() => undefined))?.success === true;
const LOW: readonly Case[] = [["--port", "80"], ["--port", "0", "--mqtt-port", "81"]].map((flags) => ({
  what: `${flags.at(-2)} ${flags.at(-1)} for a user without rights`,
  permissions: ALL,
  before: dropRights,
  flags: () => flags,
  said: () =>
    new RegExp(`does not let this user listen on port ${flags.at(-1)} of .*above 1023 with ${flags.at(-2)}$`),
}));

async function start(command: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(START_MILLISECONDS),
  }).spawn();
  const { code, stderr } = await child.output();
  return { code, said: new TextDecoder().decode(stderr) };
}

for (const { what, permissions, before = [], flags, said } of [...CASES, ...LOW]) {
  for (const way of WAYS) {
    const name = `${what} ends the server with status 1 and one sentence: ${way.join(" ")}`;
    Deno.test({ name, ignore: before.length > 0 && !mayDrop }, async () => {
      await using certificate = await createCertificate();
      using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = taken.addr;
      for (const tls of way.includes("--workers") ? [[]] : [[], certificate.flags]) {
        const command = [
          ...[...before, Deno.execPath(), "run", "--no-check", ...permissions, SERVER.href],
          ...["--engine", "memory:", "--log-level", "error", ...way, ...tls, ...flags(port)],
        ];
        const ended = await start(command);
        assert.equal(ended.code, 1, ended.said);
        const sentence = /^error: ([^\n]+)\n$/.exec(ended.said)?.[1] ?? "";
        assert.match(sentence, said(port), ended.said);
      }
    });
  }
}

for (const way of WAYS) {
  Deno.test(`The same port for all and for MQTT ends the server with status 1 and one sentence: ${way.join(" ")}`, async () => {
    const port = (() => {
      using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      return free.addr.port;
    })();
    const { code, said } = await start([
      ...[Deno.execPath(), "run", "--no-check", ...ALL, SERVER.href, "--engine", "memory:"],
      ...["--log-level", "error", ...way, "--port", String(port), "--mqtt-port", String(port)],
    ]);
    assert.equal(code, 1, said);
    assert.match(said, new RegExp(`^error: Port ${port} on 127\\.0\\.0\\.1 is in use: [^\n]+\n$`));
  });
}
