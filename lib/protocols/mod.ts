/**
 * The protocols in the order in which `app.ts` mounts them, and their settings. Channels as URLs come last, as they
 * take every path that is left.
 */
import type { Settings, Values } from "../base/setting.ts";
import type { OpenProtocol, Protocol, ProtocolSettings, Services } from "./protocol.ts";
import * as registry from "./registry.ts";

export type { Env, Protocol } from "./protocol.ts";

type Intersection<Union> = (Union extends unknown ? (value: Union) => void : never) extends
  (value: infer T) => void ? T
  : never;

type AllSettings = Intersection<(typeof registry)[keyof typeof registry]["SETTINGS"]>;

const { urls, ...others } = registry;

/** The rows of all protocols, for the table of settings. */
export const PROTOCOL_SETTINGS = Object.assign(
  {},
  ...Object.values(registry).map(({ SETTINGS }) => SETTINGS as Settings),
) as AllSettings;

/** What all protocols together read of the configuration. */
type AllProtocolSettings = ProtocolSettings & Values<AllSettings>;

/**
 * What the thread of the engine opens where workers serve: the protocols that keep channels private, to know which, and
 * what is decided in one place for all workers.
 */
export const ENGINE_PROTOCOLS: readonly OpenProtocol<AllProtocolSettings>[] = [
  registry.centrifuge.open,
  registry.pusher.open,
  registry.mqtt.openEngineSide,
];

const PROTOCOLS: readonly OpenProtocol<AllProtocolSettings>[] = [...Object.values(others), urls]
  .map(({ open }) => open);

/**
 * Opens every protocol that the settings switch on.
 *
 * @param stack closes them
 * @param protocols others than those of the registry, for tests
 */
export async function openProtocols(
  services: Services<AllProtocolSettings>,
  stack: AsyncDisposableStack,
  protocols = PROTOCOLS,
): Promise<readonly Protocol[]> {
  const opened: Protocol[] = [];
  for (const open of protocols) {
    const protocol = await open(services);
    if (protocol !== undefined) opened.push(stack.use(protocol));
  }
  return opened;
}
