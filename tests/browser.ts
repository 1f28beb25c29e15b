/** Finds a Chromium for the tests, installing one where it may, and opens it. `run.ts` and the e2e tests use it. */
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright";
import { installMissing } from "./debian.ts";
import playwright from "playwright/package.json" with { type: "json" };

const NAMES_ON_PATH = ["chromium", "chromium-browser", "google-chrome"];

/** Chromium's engine and network without the windows, profiles and extensions around them: half as much work a page. */
const HEADLESS_SHELL = "chromium-headless-shell";

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
  const onPath = await findOnPath(NAMES_ON_PATH);
  if (onPath !== undefined) return onPath;
  const own = chromium.executablePath();
  if (await starts(own)) return own;

  console.log("No Chromium found: trying Playwright's installer");
  const installer = `npm:playwright@${playwright.version}`;
  await install(Deno.execPath(), ["run", "--allow-all", "--no-lock", installer, "install", "chromium"]);
  if (await starts(own)) return own;

  await installMissing({ chromium: "chromium" });
  const installed = await findOnPath(NAMES_ON_PATH);
  if (installed !== undefined) return installed;
  throw new Error("No Chromium found: install one and put it on the PATH, or name it in CHROMIUM_PATH");
}

/**
 * The path of a Chromium that shows pages with the least work: the one that `CHROMIUM_PATH` names, else Chromium's own
 * headless shell, which is installed where it may, else what {@linkcode findChromium} finds.
 *
 * @throws {Error} saying what to do, when there is none and none can be installed
 */
export async function findShell(): Promise<string> {
  const known = Deno.env.get("CHROMIUM_SHELL_PATH");
  if (known !== undefined && known !== "") return known;
  if (Deno.env.get("CHROMIUM_PATH")) return await findChromium();
  await installMissing({ [HEADLESS_SHELL]: HEADLESS_SHELL });
  const shell = await findOnPath([HEADLESS_SHELL]);
  return shell ?? await findChromium();
}

export interface BrowserOptions {
  /** Whether pages need what is around Chromium's engine: notifications, pushes, installation, permissions. */
  readonly isWhole?: boolean;
}

/** Opens the browser in which pages live; each test opens contexts of its own. Disposing it closes it. */
export async function openBrowser({ isWhole = false }: BrowserOptions = {}): Promise<Browser> {
  // Chromium refuses to start its sandbox as root, which is what containers run as.
  const args = Deno.build.os !== "windows" && Deno.uid() === 0 ? ["--no-sandbox", ...FLAGS] : FLAGS;
  const executablePath = isWhole ? await findChromium() : await findShell();
  return await chromium.launch({ executablePath, args });
}

async function findOnPath(names: readonly string[]): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const name of names) {
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
