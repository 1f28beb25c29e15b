/** Files that settings name. `server.ts` and `app.ts` read them here, so that what is wrong with one is said alike. */

/**
 * Reads a text file.
 *
 * @param flag the setting that names it, such as `--rules`
 * @throws {SyntaxError} for a file that cannot be read, saying why, or which permission is missing
 */
export async function readSettingFile(flag: string, path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotCapable
      ? `start with deno run --allow-read=${path} and the other flags of the start task`
      : cause instanceof Error
      ? cause.message
      : cause;
    throw new SyntaxError(`Cannot read ${path} of ${flag}: ${reason}`, { cause });
  }
}
