/** The protocols in the order in which `app.ts` mounts them: channels as URLs take every path that is left. */
import type { OpenProtocol } from "./protocol.ts";
import * as registry from "./registry.ts";

export type { Env, OpenProtocol, Protocol, ProtocolSettings, Services } from "./protocol.ts";

const { openUrls, ...others } = registry;

export const PROTOCOLS: readonly OpenProtocol[] = [...Object.values(others), openUrls];
