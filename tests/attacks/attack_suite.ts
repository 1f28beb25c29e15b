/** The attacks, run against one listener after another: one server lives through all of them. */
import assert from "node:assert/strict";
import { INSPECTOR_FLAG, readLiveBytes } from "../live_memory.ts";
import { RawSocket } from "../raw_socket.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";
import { type Attack, FLAGS } from "./attack.ts";
import { Bystanders } from "./bystanders.ts";
import { CONNECTION_ATTACKS } from "./connection_attacks.ts";
import { FRAME_ATTACKS } from "./frame_attacks.ts";
import { REQUEST_ATTACKS } from "./request_attacks.ts";
import { readVitals, type Vitals, waitForVitals } from "./vitals.ts";

const ATTACKS: readonly Attack[] = [...FRAME_ATTACKS, ...REQUEST_ATTACKS, ...CONNECTION_ATTACKS];

const MEGABYTE = 1024 * 1024;

/** How much more than usual may be alive in a server after any number of attacks, in bytes. */
const LIVE_SLACK = 16 * MEGABYTE;

/** How much larger than before an attack a process may be, in bytes: not all that is freed goes back to the system. */
const SLACK = 128 * MEGABYTE;

/** The same after all attacks together. */
const ALL_SLACK = 256 * MEGABYTE;

/** How long what an attack took may take to come back. Far more than the timeouts, for busy machines. */
const RECOVERY_MILLISECONDS = 20_000;

/** How long an attack may last. */
const ATTACK_MILLISECONDS = 15_000;

const CLOSE = { connection: "close" };

export interface ListenerUnderAttack {
  readonly name: string;
  readonly flags: readonly string[];
  /** Whether it tells a WebSocket why it ends it. */
  readonly saysWhy: boolean;
  /** Attacks it does not withstand, by name, with the reason. */
  readonly cannotStop: Readonly<Record<string, string>>;
}

/** Registers the attacks on one listener. */
export function testUnderAttack({ name, flags, saysWhy, cannotStop }: ListenerUnderAttack): void {
  for (const attack of Object.keys(cannotStop)) {
    if (!ATTACKS.some((known) => known.name === attack)) {
      throw new TypeError(`No attack is called "${attack}"`);
    }
  }
  let server: ServerProcess | undefined;
  let usual: Vitals | undefined;
  let usuallyLive = 0;
  Deno.test.beforeAll(async () => {
    server = await startServer({
      permissions: ["--allow-all", INSPECTOR_FLAG],
      flags: [...flags, ...FLAGS],
    });
    const atStart = await readVitals(server.pid);
    // What every server needs once clients have come.
    await checkService(server);
    await makeBusy(server);
    {
      await using bystanders = await Bystanders.open(server);
      await bystanders.check();
    }
    const { files } = atStart;
    usual = await waitForVitals(server.pid, (vitals) => vitals.files <= files, RECOVERY_MILLISECONDS);
    usuallyLive = await readLiveBytes(server);
  });
  Deno.test.afterAll(async () => {
    await server?.stop();
  });

  for (const attack of ATTACKS) {
    const reason = cannotStop[attack.name];
    const promise = `${name} stands ${attack.name}`;
    Deno.test({
      name: reason === undefined ? promise : `${promise} (skipped: ${reason})`,
      ignore: reason !== undefined,
      // The server outlives the test: its log is read in between.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        assert(server !== undefined && usual !== undefined);
        const { pid } = server;
        const usualFiles = usual.files;
        const before = await waitForVitals(pid, ({ files }) => files <= usualFiles, RECOVERY_MILLISECONDS);
        const isBack = (files: number) => files <= before.files;
        {
          await using bystanders = await Bystanders.open(server);
          const present = (await readVitals(pid)).files;
          using _open = await withDeadline(attack.run({ server, port: server.port, saysWhy })) || undefined;
          await bystanders.check();
          const { files } = await waitForVitals(pid, ({ files }) => files <= present, RECOVERY_MILLISECONDS);
          assert.ok(files <= present, `${files} files are open, ${present} were before the attack`);
        }
        let live = Infinity;
        const after = await waitForVitals(
          pid,
          ({ files, memory }) =>
            isBack(files) && memory <= before.memory + SLACK && live <= usuallyLive + LIVE_SLACK,
          RECOVERY_MILLISECONDS,
          async () => live = await readLiveBytes(server!),
        );
        assert.ok(isBack(after.files), `${after.files} files are open, ${before.files} were before`);
        assertSize("The process", after.memory, before.memory, SLACK);
        assertSize("What is alive", live, usuallyLive, LIVE_SLACK);
        await checkService(server);
        checkLog(server.lines);
      },
    });
  }

  Deno.test({
    name: `${name} is of its usual size after all attacks`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      assert(server !== undefined && usual !== undefined);
      assertSize("What is alive", await readLiveBytes(server), usuallyLive, LIVE_SLACK);
      const { memory } = await readVitals(server.pid);
      assertSize("The process", memory, usual.memory, ALL_SLACK);
    },
  });
}

function assertSize(what: string, bytes: number, before: number, slack: number): void {
  assert.ok(bytes <= before + slack, `${what} has grown by ${Math.round((bytes - before) / MEGABYTE)} MB`);
}

/** Gives up on an attack whose attacker waits in vain for what the server should do. */
async function withDeadline<T>(running: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The attacker waits in vain")), ATTACK_MILLISECONDS);
  });
  return await Promise.race([running, late]).finally(() => clearTimeout(timer));
}

/** What a server goes through on a normal day: its heap finds its size. */
async function makeBusy(server: ServerProcess): Promise<void> {
  using open = new DisposableStack();
  for (let i = 0; i < 300; i++) open.use(await RawSocket.upgrade(server.port, "/busy"));
  const upload = open.use(await RawSocket.open(server.port));
  await upload.write("POST /busy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n");
  await upload.flood(new Uint8Array(MEGABYTE), 128 * MEGABYTE);
  for (let i = 0; i < 100; i++) {
    const answer = await fetch(`${server.url}/busy?ephemeral`, {
      method: "POST",
      body: "x".repeat(60_000),
      headers: CLOSE,
    });
    await answer.text();
  }
}

/** Does what a normal client does. */
async function checkService({ url, socketUrl }: ServerProcess): Promise<void> {
  await using socket = await TestSocket.open(`${socketUrl}/service`);
  const answer = await fetch(`${url}/service`, { method: "POST", body: "it rains", headers: CLOSE });
  const { offset } = await answer.json();
  assert.equal(await socket.next(), "it rains");
  socket.send("Hello");
  assert.equal(await socket.next(), "World!");
  const document = await fetch(`${url}/service?since=${offset - 1}`, {
    headers: { ...CLOSE, accept: "application/json" },
  });
  const { messages } = await document.json();
  assert.deepEqual(messages.map(({ data }: { data: string }) => data), ["it rains", "Hello"]);
}

/** Nothing unforeseen happened, and nobody wrote lines or control characters of their own into the log. */
function checkLog(lines: readonly string[]): void {
  assert.deepEqual(lines.filter((line) => line.startsWith("error")), []);
  // deno-lint-ignore no-control-regex -- they are what is looked for
  assert.deepEqual(lines.filter((line) => /[\x00-\x1f\x7f-\x9f]|^forged/.test(line)), []);
}
