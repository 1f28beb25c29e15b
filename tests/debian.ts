/** Installs the Debian packages whose programs tests need, where that may be done: as root. */
import { delimiter, join } from "node:path";

/** Debian keeps servers in folders that are not on every PATH. */
const FOLDERS = ["/usr/sbin"];

/** Longest time an installer may take. */
const INSTALL_TIMEOUT_MS = 180_000;

/** The programs from packages that tests of several files start, by the names of the programs. `run.ts` installs them at once. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  "nats-server": "nats-server",
  "mosquitto_pub": "mosquitto-clients",
  "nginx": "nginx-light",
};

/**
 * Installs what is missing. What cannot be installed shows in what is not found afterwards.
 *
 * @param packages the packages, by the names of the programs that each is for
 */
export async function installMissing(packages: Readonly<Record<string, string>>): Promise<void> {
  const missing = Object.entries(packages).filter(([program]) => !isInstalled(program)).map(([, name]) =>
    name
  );
  if (missing.length === 0 || Deno.build.os !== "linux" || Deno.uid() !== 0 || !isInstalled("apt-get")) {
    return;
  }
  console.log(`Installing Debian's ${missing.join(", ")} with apt-get`);
  await run("apt-get", ["update"]);
  // One after the other: a package that does not exist here must not keep the others away.
  for (const name of missing) {
    await run("apt-get", ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", name]);
  }
}

function isInstalled(program: string): boolean {
  const onPath = (Deno.env.get("PATH") ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...onPath, ...FOLDERS].some((folder) => {
    try {
      return Deno.statSync(join(folder, program)).isFile;
    } catch {
      return false;
    }
  });
}

/** Runs an installer in silence, and shows what it said only when it fails: there may be another way. */
async function run(command: string, args: readonly string[]): Promise<void> {
  let said: string;
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, {
      args: [...args],
      // Debian would start a service at once.
      env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(INSTALL_TIMEOUT_MS),
    }).output();
    if (success) return;
    said = new TextDecoder().decode(new Uint8Array([...stdout, ...stderr]));
  } catch (error) {
    said = String(error);
  }
  const errors = said.trim().split("\n").filter((line) => /^E:|error|fail/i.test(line)).slice(0, 3);
  console.log(`${args.join(" ")} did not work:\n  ${errors.join("\n  ")}`);
}
