/** Finds `mosquitto_pub` and `mosquitto_sub` for the tests, installing them where it may. */

/** Longest time an installer may take. */
const INSTALL_TIMEOUT_MS = 120_000;

/** Whether both programs start. */
export async function findMosquitto(): Promise<boolean> {
  if (await isInstalled()) return true;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return false;
  // What fails here shows in what is not found afterwards.
  await run("apt-get", ["update"]);
  await run("apt-get", ["install", "-y", "--no-install-recommends", "mosquitto-clients"]);
  return await isInstalled();
}

async function isInstalled(): Promise<boolean> {
  try {
    const { stdout } = await new Deno.Command("mosquitto_pub", { args: ["--version"] }).output();
    // It exits with 1 all the same.
    return new TextDecoder().decode(stdout).startsWith("mosquitto_pub version");
  } catch {
    return false;
  }
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
