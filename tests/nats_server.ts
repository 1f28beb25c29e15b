/** Finds the `nats-server` for the tests, installing it where it may. `nats_cluster.ts` starts it. */

/** Where it may be: Debian's is not on every PATH. */
const PATHS = ["nats-server", "/usr/sbin/nats-server"];

/** Longest time an installer may take. */
const INSTALL_TIMEOUT_MS = 120_000;

/** The path of a `nats-server` that starts, or undefined when there is none and none can be installed. */
export async function findNatsServer(): Promise<string | undefined> {
  const found = await findInstalled();
  if (found !== undefined) return found;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return undefined;
  // What fails here shows in what is not found afterwards.
  await run("apt-get", ["update"]);
  await run("apt-get", ["install", "-y", "--no-install-recommends", "nats-server"]);
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
      env: { DEBIAN_FRONTEND: "noninteractive" },
      signal: AbortSignal.timeout(INSTALL_TIMEOUT_MS),
    }).output();
    return success;
  } catch {
    return false;
  }
}
