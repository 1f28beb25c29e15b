/** Small file systems for tests, on machines where tests may mount them: as root, on Linux. */

export interface Mount extends AsyncDisposable {
  readonly path: string;
  remount(options: string): Promise<void>;
}

/** Whether this process may mount; found out by doing it. */
export const mayMount: boolean = Deno.build.os === "linux" && Deno.uid() === 0 && await tryMount();

/** Mounts a file system in memory over a directory, until disposed. */
export async function mountTemporary(path: string, options: string): Promise<Mount> {
  await run("mount", "-t", "tmpfs", "-o", options, "raindrops-test", path);
  return {
    path,
    remount: (changed) => run("mount", "-o", `remount,${changed}`, path),
    // Lazy: a test that failed may still hold files there.
    [Symbol.asyncDispose]: () => run("umount", "--lazy", path),
  };
}

async function tryMount(): Promise<boolean> {
  const path = await Deno.makeTempDir();
  try {
    await using _mount = await mountTemporary(path, "size=64k");
    return true;
  } catch {
    return false;
  } finally {
    await Deno.remove(path);
  }
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
}
