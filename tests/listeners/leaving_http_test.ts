/** Connections that ask to leave HTTP and are refused, on real servers: each gives its descriptor back. */
import assert from "node:assert/strict";
import { readVitals, waitForVitals } from "../attacks/vitals.ts";
import { createHandshake, KEY, RawSocket } from "../raw_socket.ts";
import { startServer } from "../server_process.ts";

const HANDSHAKE = createHandshake("/news");
const RECOVERY_MILLISECONDS = 8_000;
const STOP_MILLISECONDS = 10_000;

interface Refusal {
  readonly status: number;
  readonly flags: readonly string[];
  readonly request: string;
  /** Whether another WebSocket takes the only place first. */
  readonly isFull?: boolean;
}

const withHeader = (line: string) => HANDSHAKE.replace("\r\n\r\n", `\r\n${line}\r\n\r\n`);

const REFUSALS: readonly Refusal[] = [
  { status: 400, flags: [], request: HANDSHAKE.replace(KEY, "short") },
  { status: 401, flags: ["RAINDROPS_TOKEN_SECRET"], request: HANDSHAKE },
  { status: 403, flags: [], request: withHeader("Origin: https://elsewhere.example") },
  { status: 404, flags: [], request: createHandshake("/_inspect/nothing") },
  { status: 400, flags: [], request: createHandshake(`/${"x".repeat(300)}`) },
  { status: 421, flags: [], request: HANDSHAKE.replace("localhost", "foreign.example") },
  { status: 426, flags: [], request: HANDSHAKE.replace("Version: 13", "Version: 8") },
  { status: 429, flags: ["--max-connections-per-address", "1"], request: HANDSHAKE, isFull: true },
  { status: 503, flags: ["--max-connections", "1"], request: HANDSHAKE, isFull: true },
];

for (const listener of ["deno", "node"]) {
  Deno.test({
    name: `${listener} listener: refused upgrades give their descriptors back, and SIGTERM ends the server`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      for (const flags of new Set(REFUSALS.map(({ flags }) => flags.join(" ")))) {
        const isKeyed = flags === "RAINDROPS_TOKEN_SECRET";
        await using server = await startServer({
          flags: ["--listener", listener, ...(isKeyed || flags === "" ? [] : flags.split(" "))],
          env: isKeyed ? { RAINDROPS_TOKEN_SECRET: "0123456789abcdef0123456789abcdef" } : {},
        });
        const cases = REFUSALS.filter((refusal) => refusal.flags.join(" ") === flags);
        using _held = cases[0]?.isFull ? await RawSocket.upgrade(server.port) : undefined;
        const before = await readVitals(server.pid);
        for (const { status, request } of cases) {
          for (const [early, late] of [["", ""], ["bytes", ""], ["", "bytes"], ["bytes", "bytes"]] as const) {
            using socket = await RawSocket.open(server.port);
            await socket.write(request + early);
            assert.match(await socket.readUntil("}\n"), new RegExp(`^HTTP/1\\.1 ${status} `));
            if (late !== "") await socket.write(late).catch(() => {});
          }
        }
        const isBack = ({ files }: { files: number }) => files <= before.files;
        const after = await waitForVitals(server.pid, isBack, RECOVERY_MILLISECONDS);
        // A server that has leaked a connection may not end by itself.
        if (!isBack(after)) await server.kill();
        assert.ok(isBack(after), `${after.files} files are open, ${before.files} were before (${flags})`);
        server.signal("SIGTERM");
        const timer = setTimeout(() => server.signal("SIGKILL"), STOP_MILLISECONDS);
        const status = await server.ended();
        clearTimeout(timer);
        assert.equal(status?.code, 0, `it ended by ${status?.signal}`);
      }
    },
  });
}
