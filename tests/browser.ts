/** Finds a Chromium for the tests, installing one where it may, and opens it. `run.ts` and the e2e tests use it. */
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright";
import playwright from "playwright/package.json" with { type: "json" };

const NAMES_ON_PATH = ["chromium", "chromium-browser", "google-chrome"];

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Longest time an installer may take. */
const INSTALL_TIMEOUT_MS = 180_000;

/**
 * The path of a Chromium that starts: `CHROMIUM_PATH`, one on the PATH, Playwright's own, or a new installation.
 *
 * @throws {Error} saying what to do, when there is none and none can be installed
 */
export async function findChromium(): Promise<string> {
  const given = Deno.env.get("CHROMIUM_PATH");
  if (given !== undefined && given !== "") {
    if (await starts(given)) return given;
    throw new Error(`CHROMIUM_PATH is ${given}, which does not start: point it at a Chromium, or unset it`);
  }
  const onPath = await findOnPath();
  if (onPath !== undefined) return onPath;
  const own = chromium.executablePath();
  if (await starts(own)) return own;

  console.log("No Chromium found: trying Playwright's installer");
  const installer = `npm:playwright@${playwright.version}`;
  await install(Deno.execPath(), ["run", "--allow-all", "--no-lock", installer, "install", "chromium"]);
  if (await starts(own)) return own;

  if (Deno.build.os === "linux" && Deno.uid() === 0 && await starts("apt-get")) {
    console.log("Playwright's installer did not work: installing Debian's package chromium with apt-get");
    await install("apt-get", ["update"]);
    await install("apt-get", ["install", "-y", "--no-install-recommends", "chromium"]);
    const installed = await findOnPath();
    if (installed !== undefined) return installed;
  }
  throw new Error("No Chromium found: install one and put it on the PATH, or name it in CHROMIUM_PATH");
}

/** Opens the browser in which pages live; each test opens contexts of its own. Disposing it closes it. */
export async function openBrowser(): Promise<Browser> {
  // Chromium refuses to start its sandbox as root, which is what containers run as.
  const args = Deno.build.os !== "windows" && Deno.uid() === 0 ? ["--no-sandbox", ...FLAGS] : FLAGS;
  return await chromium.launch({ executablePath: await findChromium(), args });
}

async function findOnPath(): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const name of NAMES_ON_PATH) {
    for (const folder of folders) {
      const path = join(folder, name);
      if (await starts(path)) return path;
    }
  }
  return undefined;
}

async function starts(command: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

/** Runs an installer in silence, and shows what it said only when it fails: the next way may still work. */
async function install(command: string, args: readonly string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    signal: AbortSignal.timeout(INSTALL_TIMEOUT_MS),
  }).output();
  if (success) return;
  const lines = new TextDecoder().decode(new Uint8Array([...stdout, ...stderr])).trim().split("\n");
  const errors = lines.filter((line) => /error|fail/i.test(line)).slice(0, 3);
  console.log(`${args.join(" ")} did not work:\n  ${errors.join("\n  ")}`);
}
