/**
 * Makes one executable file of Raindrops. Run by `deno task compile [FILE]`.
 *
 * `deno compile` fetches a runtime of its own from a host that build machines often cannot reach. This executable is
 * made of what is here already: a shell script, followed by an archive of this Deno, the program, its pages and the
 * npm packages it imports. It unpacks itself once into the user's cache, and then runs without a network.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { VERSION } from "../config/version.ts";
import { formatTask } from "../base/task.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const DEFAULT_FILE = "raindrops";
const PROGRAM = ["server.ts", "lib", "static", "deno.json", "deno.lock"];

/** What `deno info --json` says of the program. */
interface ModuleInfo {
  readonly npmPackages: Readonly<Record<string, { readonly localPath: string }>>;
}

/** The machine lacks what the executable is made of. */
class CompileError extends Error {}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args], cwd: ROOT }).output();
  if (code === 0) return new TextDecoder().decode(stdout);
  throw new CompileError(
    `${basename(command)} ${args[0]} failed: ${new TextDecoder().decode(stderr).trim()}`,
  );
}

/** Collects everything the program needs in a folder, as the executable unpacks it. */
async function collect(folder: string): Promise<void> {
  for (const name of PROGRAM) await copy(join(ROOT, name), join(folder, name));
  await Deno.copyFile(Deno.execPath(), join(folder, "deno"));
  // Puts what is missing into Deno's cache, from which it is copied.
  await run(Deno.execPath(), ["cache", "--frozen", "server.ts"]);
  const { npmPackages }: ModuleInfo = JSON.parse(await run(Deno.execPath(), ["info", "--json", "server.ts"]));
  const { denoDir } = JSON.parse(await run(Deno.execPath(), ["info", "--json"]));
  for (const { localPath } of Object.values(npmPackages)) {
    await copy(localPath, join(folder, "cache", relative(denoDir, localPath)));
  }
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(dirname(to), { recursive: true });
  await run("cp", ["-R", from, to]);
}

/** The first part of the executable. It has as many lines as it says. */
function formatLauncher(hash: string): string {
  const script = (lines: number) =>
    `#!/bin/sh
# Raindrops ${VERSION}: this script, then an archive (tar, gzip) of Deno, the program and its packages.
set -eu
program=
for cache in "\${XDG_CACHE_HOME:-\${HOME:-/nonexistent}/.cache}/raindrops" "\${TMPDIR:-/tmp}/raindrops-$(id -u)"; do
  # Only a directory of the user's own is trusted.
  if (umask 077 && mkdir -p "$cache" && [ -O "$cache" ] && [ ! -L "$cache" ] && [ -w "$cache" ]) 2>/dev/null; then
    program=$cache/${VERSION}-${hash}
    break
  fi
done
if [ -z "$program" ]; then
  echo "Raindrops finds no directory to unpack itself into: set XDG_CACHE_HOME to one that you own and may write" >&2
  exit 1
fi
if [ ! -x "$program/deno" ]; then
  unpacked=$(mktemp -d "$cache/unpacking.XXXXXX")
  trap 'rm -rf "$unpacked"' EXIT
  tail -n +${lines} "$0" | tar -xzf - -C "$unpacked"
  # Another start may have been faster: mv then moves the folder into the other one.
  mv "$unpacked" "$program"
  rm -rf "$program/\${unpacked##*/}"
  trap - EXIT
fi
export DENO_DIR="$program/cache" DENO_NO_UPDATE_CHECK=1
exec "$program/deno" run --no-prompt --cached-only --frozen --config "$program/deno.json" --allow-net --allow-env \\
  --allow-read --allow-write --allow-sys=osUptime "$program/server.ts" "$@"
`;
  return script(script(0).split("\n").length);
}

/** @returns the size of the executable in bytes */
async function compile(file: string): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "raindrops-compile-" });
  try {
    await Deno.mkdir(join(folder, "program"));
    await collect(join(folder, "program"));
    const archive = join(folder, "archive");
    await run("tar", ["-czf", archive, "-C", join(folder, "program"), "."]);
    const content = await Deno.readFile(archive);
    const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
    const partial = `${file}.part`;
    await Deno.writeTextFile(partial, formatLauncher(hash));
    await Deno.writeFile(partial, content, { append: true });
    await Deno.chmod(partial, 0o755);
    await Deno.rename(partial, file);
    return (await Deno.stat(file)).size;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const [file = DEFAULT_FILE, ...rest] = Deno.args;
  if (file.startsWith("-") || rest.length > 0) {
    console.error(`Usage: ${formatTask("compile", Deno.execPath())} [FILE], ${DEFAULT_FILE} when left out`);
    Deno.exit(2);
  }
  if (Deno.build.os === "windows") {
    console.error(
      `The executable is a shell script at heart, which Windows does not run: use ${
        formatTask("start", Deno.execPath())
      }`,
    );
    Deno.exit(1);
  }
  try {
    console.log(`${file}: ${await compile(file)} bytes for ${Deno.build.target}`);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
