/** Finds the `nats-server` for the tests, installing it where it may. `nats_cluster.ts` starts it. */
import { installMissing } from "./debian.ts";

/** Where it may be: Debian's is not on every PATH. */
const PATHS = ["nats-server", "/usr/sbin/nats-server"];

/** The path of a `nats-server` that starts, or undefined when there is none and none can be installed. */
export async function findNatsServer(): Promise<string | undefined> {
  const found = await findInstalled();
  if (found !== undefined) return found;
  await installMissing({ "nats-server": "nats-server" });
  return await findInstalled();
}

async function findInstalled(): Promise<string | undefined> {
  for (const path of PATHS) if (await run(path, ["--version"])) return path;
  return undefined;
}

async function run(command: string, args: readonly string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args: [...args],
    }).output();
    return success;
  } catch {
    return false;
  }
}
