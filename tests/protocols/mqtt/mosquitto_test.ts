/** Mosquitto's own clients against the port, where Debian has them. */
import assert from "node:assert/strict";
import { findMosquitto } from "../../mosquitto.ts";
import { startMqtt } from "./app.ts";

const isInstalled = await findMosquitto();

for (const version of ["mqttv311", "mqttv5"]) {
  for (const qos of ["0", "1", "2"]) {
    Deno.test({
      name: `mosquitto_pub and mosquitto_sub (${version}, QoS ${qos}) pass retained messages on`,
      ignore: !isInstalled,
      async fn() {
        await using app = await startMqtt();
        const common = ["-h", "127.0.0.1", "-p", `${app.mqttPort}`, "-V", version, "-q", qos];
        await run("mosquitto_pub", [...common, "-t", "home/lamp", "-m", "on", "-r"]);
        const output = await run("mosquitto_sub", [...common, "-t", "home/#", "-C", "1", "-W", "5", "-v"]);
        assert.equal(output, "home/lamp on\n");
      },
    });
  }
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
