/** How the user runs a task of `deno.json`, for messages that say what to type. */

/** npm and its kin keep what they install, `npx -y deno` included, in a folder of this name. */
const PACKAGES = /[\\/]node_modules[\\/]/;

/**
 * The command line for a task: `deno task serve`, or `npx -y deno task serve` where Deno itself came from npm and so
 * need not be on the PATH.
 *
 * @param execPath the path of the running Deno, as `Deno.execPath()` tells it
 */
export function formatTask(name: string, execPath: string): string {
  return `${PACKAGES.test(execPath) ? "npx -y " : ""}deno task ${name}`;
}

/**
 * What to do where Deno's permissions do not suffice: the task with wider ones, or the flag that is missing.
 *
 * @param flag such as `--allow-net=example.org`
 * @param execPath the path of the running Deno, as `Deno.execPath()` tells it
 */
export function formatPermissionCure(flag: string, execPath: string): string {
  const [serve, start] = [formatTask("serve", execPath), formatTask("start", execPath)];
  return `use ${serve} instead of ${start}, or start with deno run ${flag} and the other flags of the start task`;
}
