/**
 * Copies the messages of a running server into a file and checks the copy. Run by `deno task backup FILE [URL]`, with
 * the server's API key, if it has one, in RAINDROPS_API_KEYS.
 */
import { DatabaseSync } from "node:sqlite";
import { formatTask } from "../base/task.ts";

const DEFAULT_URL = "http://localhost:8000";
const USAGE = `Usage: ${formatTask("backup", Deno.execPath())} FILE [URL], such as ${
  formatTask("backup", Deno.execPath())
} raindrops.backup ${DEFAULT_URL}

Copies the messages of a running server into FILE. Its API key, where it has one, comes from RAINDROPS_API_KEYS.`;

/** An error that the user can fix. */
class BackupError extends Error {}

/**
 * Writes the copy to a temporary file first, so that an incomplete copy never replaces a good one.
 *
 * @returns the size of the copy in bytes
 */
async function backup(file: string, url: string, key: string | undefined): Promise<number> {
  const partial = `${file}.part`;
  const response = await request(new URL("/api/backup", url), key);
  try {
    await Deno.writeFile(partial, response.body ?? new Uint8Array(), { mode: 0o600 });
    check(partial);
    await Deno.rename(partial, file);
    return (await Deno.stat(file)).size;
  } catch (error) {
    await Deno.remove(partial).catch(() => {});
    throw error instanceof TypeError ? new BackupError(`The copy was interrupted: ${error.message}`) : error;
  }
}

async function request(url: URL, key: string | undefined): Promise<Response> {
  let response;
  try {
    response = await fetch(url, { headers: key === undefined ? {} : { "x-api-key": key } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new BackupError(`No server answers at ${url}: start it, or name its URL after FILE (${reason})`);
  }
  if (response.ok) return response;
  const { detail } = await response.json().catch(() => ({ detail: undefined }));
  throw new BackupError(`The server refuses with ${response.status}: ${detail ?? response.statusText}`);
}

function check(file: string): void {
  const database = new DatabaseSync(file);
  try {
    // Reads without creating a shared-memory file.
    database.prepare("PRAGMA locking_mode = EXCLUSIVE").get();
    const answer = database.prepare("PRAGMA quick_check(1)").get()?.quick_check;
    if (answer !== "ok") throw new BackupError(`The copy is damaged (${answer}): try again`);
  } finally {
    database.close();
  }
}

if (import.meta.main) {
  const [file, url = DEFAULT_URL, ...rest] = Deno.args;
  if (file === "--help" || file === "-h") {
    console.log(USAGE);
    Deno.exit(0);
  }
  if (file === undefined || file.startsWith("-") || rest.length > 0 || !URL.canParse(url)) {
    console.error(USAGE);
    Deno.exit(2);
  }
  try {
    const [key] = (Deno.env.get("RAINDROPS_API_KEYS") ?? "").split(",").map((text) => text.trim());
    console.log(`${file}: ${await backup(file, url, key === "" ? undefined : key)} bytes`);
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
