/**
 * Finds the peers' programs, and installs what is missing where it touches nothing else: npm packages and Debian's
 * packages of nginx, nchan and Mosquitto, unpacked in the user's cache directory.
 */

/** What is wanted of npm; the benchmark's ratios are about these versions. */
const NPM_PACKAGES = ["bun@1", "ws@8", "socket.io@4"];
const DEBIAN_PACKAGES = ["nginx", "libnginx-mod-nchan"];
/** The broker with those of its libraries that are not on every Debian. */
const MOSQUITTO_PACKAGES = [
  "mosquitto",
  "libmosquitto1",
  "libcjson1",
  "libdlt2",
  "libwrap0",
  "libnsl2",
  "libtirpc3",
];
const MOSQUITTO = "/usr/sbin/mosquitto";
const NGINX = "/usr/sbin/nginx";
/** Where nchan makes a directory as it starts, in whatever configuration: its setting for that is refused as a duplicate. */
const NGINX_STATE = "/var/lib/nginx";
const NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/** Where the peers' programs are. */
export interface Programs {
  /** Node, and the directory whose `node_modules` holds its packages. */
  readonly node: string;
  readonly modules: string;
  readonly bun: string;
}

export interface Nginx {
  readonly program: string;
  readonly module: string;
}

export interface Mosquitto {
  readonly program: string;
  /** Where it finds its libraries, beside the usual places. */
  readonly libraries: string;
}

/** @throws {Error} saying what is missing */
export async function findPrograms(): Promise<Programs> {
  const modules = await makeCache("npm");
  const bun = `${modules}/node_modules/@oven/bun-linux-${
    Deno.build.arch === "x86_64" ? "x64" : "aarch64"
  }/bin/bun`;
  if (!await exists(bun) || !await exists(`${modules}/node_modules/socket.io/package.json`)) {
    console.error(`Installing ${NPM_PACKAGES.join(", ")} in ${modules}`);
    // No scripts: Bun's program is in a package of its own, and needs none.
    await run("npm", [
      "install",
      "--prefix",
      modules,
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      ...NPM_PACKAGES,
    ]);
  }
  return { node: "node", modules, bun };
}

/** @throws {Error} saying what is missing */
export async function findNginx(): Promise<Nginx> {
  if (await exists(NGINX) && await exists(NCHAN)) return { program: NGINX, module: NCHAN };
  const cache = await makeCache("debian");
  const program = `${cache}${NGINX}`;
  if (!await exists(program)) await unpackDebian(DEBIAN_PACKAGES, cache);
  await Deno.mkdir(NGINX_STATE, { recursive: true });
  return { program, module: `${cache}${NCHAN}` };
}

/** @throws {Error} saying what is missing */
export async function findMosquitto(): Promise<Mosquitto> {
  if (await exists(MOSQUITTO)) return { program: MOSQUITTO, libraries: "" };
  const cache = await makeCache("mosquitto");
  const program = `${cache}${MOSQUITTO}`;
  if (!await exists(program)) await unpackDebian(MOSQUITTO_PACKAGES, cache);
  const triplet = Deno.build.arch === "x86_64" ? "x86_64-linux-gnu" : "aarch64-linux-gnu";
  return { program, libraries: `${cache}/usr/lib/${triplet}:${cache}/lib/${triplet}` };
}

async function unpackDebian(packages: readonly string[], cache: string): Promise<void> {
  console.error(`Unpacking ${packages.join(", ")} in ${cache}`);
  await run("apt-get", ["download", ...packages], cache);
  for await (const { name } of Deno.readDir(cache)) {
    if (name.endsWith(".deb")) await run("dpkg", ["-x", name, "."], cache);
  }
}

async function makeCache(name: string): Promise<string> {
  const home = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`;
  const path = `${home}/raindrops-bench/${name}`;
  await Deno.mkdir(path, { recursive: true });
  return path;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function run(program: string, args: string[], cwd = "/"): Promise<void> {
  const command = new Deno.Command(program, { args, cwd, stdin: "null", stdout: "null", stderr: "piped" });
  const { success, stderr } = await command.output();
  if (!success) throw new Error(`${program} ${args[0]} failed: ${new TextDecoder().decode(stderr).trim()}`);
}
