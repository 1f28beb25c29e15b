/** Runs the load generator: scenarios hand it a job against a server, and get the results. */
import { runOnGeneratorCore, type Server } from "./child.ts";
import type { Job, Results } from "./generator/job.ts";

const PROGRAM = new URL("generator/main.ts", import.meta.url).pathname;

type WithoutTarget<J> = J extends Job ? Omit<J, "port" | "pids"> : never;

/** @throws {Error} when anything does not arrive as it should */
export async function generate<J extends WithoutTarget<Job>>(
  server: Server,
  job: J,
): Promise<Results[J["kind"]]> {
  const text = JSON.stringify({ ...job, port: server.port, pids: server.pids });
  return JSON.parse(
    await runOnGeneratorCore({
      program: Deno.execPath(),
      args: ["run", "--no-check", "--allow-all", PROGRAM, text],
    }),
  );
}
