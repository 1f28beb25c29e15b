/** Reads the files that settings name, so that what is wrong with one is said alike. */
import { parseJsonFile } from "../base/json_file.ts";
import { formatPermissionCure } from "../base/task.ts";

/** The files that were read here, by path, and those that another thread has read. */
const filesRead = new Map<string, string>();
const filesGiven = new Map<string, string>();

/** Every file that was read so far, for a thread that starts later. */
export function listFilesRead(): ReadonlyMap<string, string> {
  return filesRead;
}

/** Takes files as the thread has read them that started this one, whatever has become of them since. */
export function useFilesRead(files: ReadonlyMap<string, string>): void {
  for (const [path, text] of files) filesGiven.set(path, text);
}

/**
 * Reads a text file.
 *
 * @param flag the setting that names it, such as `--rules`
 * @throws {SyntaxError} for a file that cannot be read, saying why, or which permission is missing
 */
export async function readSettingFile(flag: string, path: string): Promise<string> {
  const given = filesGiven.get(path);
  if (given !== undefined) return given;
  try {
    const text = await Deno.readTextFile(path);
    filesRead.set(path, text);
    return text;
  } catch (cause) {
    throw new SyntaxError(describeReadError(flag, path, cause), { cause });
  }
}

function describeReadError(flag: string, path: string, cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return `There is no file ${path}, which ${flag} names`;
  const where = `Cannot read ${path} of ${flag}`;
  if (cause instanceof Deno.errors.NotCapable) {
    return `${where}, nor see whether it is there: the start task may read data/, put it there, or ` +
      formatPermissionCure(`--allow-read=${path}`, Deno.execPath());
  }
  if (cause instanceof Deno.errors.IsADirectory) return `${where}: it is a directory`;
  // Without the path, which Deno repeats.
  return `${where}: ${cause instanceof Error ? cause.message.replace(/: \w+ '.*'$/, "") : cause}`;
}

/**
 * Reads the file of `--token-jwks`.
 *
 * @throws {SyntaxError} for a file that is not JSON; what else is wrong with it is found when its keys are opened
 */
export async function readKeySet(path: string): Promise<string> {
  const text = await readSettingFile("--token-jwks", path);
  parseNamed("Key set", path, parseJsonFile, text);
  return text;
}

/**
 * Parses the text of a file.
 *
 * @throws {SyntaxError} naming the file that the parser complains about
 */
export function parseNamed<T>(what: string, path: string, parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (cause) {
    throw new SyntaxError(`${what} ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
