/** Finds `mosquitto_pub` and `mosquitto_sub` for the tests, installing them where it may. */
import { installMissing } from "./debian.ts";

/** Whether both programs start. */
export async function findMosquitto(): Promise<boolean> {
  if (await isInstalled()) return true;
  await installMissing({ mosquitto_pub: "mosquitto-clients" });
  return await isInstalled();
}

async function isInstalled(): Promise<boolean> {
  try {
    const { stdout } = await new Deno.Command("mosquitto_pub", { args: ["--version"] }).output();
    // It exits with 1 all the same.
    return new TextDecoder().decode(stdout).startsWith("mosquitto_pub version");
  } catch {
    return false;
  }
}
