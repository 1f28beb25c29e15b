/** The methods of the HTTP API that publish a message: to one channel, or to many. */
import { parseChannel, selectChannel } from "../core/channel.ts";
import type { Position } from "../core/log.ts";
import { createDraft, type DraftOptions, MAX_KEY_LENGTH } from "../core/draft.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import type { Fields } from "./fields.ts";
import { parseOr } from "../http/problem.ts";
import type { Version } from "./versions.ts";

/** Most channels of one broadcast. */
export const MAX_BROADCAST_CHANNELS = 10_000;

/** The message of a request, without the channel. */
interface PublishRequest {
  readonly options: Omit<DraftOptions, "channel">;
  /** Undefined for a publish without a version. */
  readonly version: Version | undefined;
}

export async function publish(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  return await publishTo(context, channel, parsePublishRequest(fields));
}

/** Answers for each channel separately: a failure does not stop the others. */
export async function broadcast(
  context: ApiContext,
  fields: Fields,
  describeError: (error: unknown) => string,
): Promise<string> {
  const channels = fields.strings("channels", MAX_BROADCAST_CHANNELS, "names: send several broadcasts");
  if (channels.length === 0) throw fields.refuse("channels", "is required: name at least one");
  const request = parsePublishRequest(fields);
  const responses = await Promise.all(channels.map(async (name) => {
    try {
      return `{"result":${await publishTo(
        context,
        parseOr("bad_channel", () => parseChannel(name)),
        request,
      )}}`;
    } catch (error) {
      return `{"error":${describeError(error)}}`;
    }
  }));
  return `{"responses":[${responses.join(",")}]}`;
}

function parsePublishRequest(fields: Fields): PublishRequest {
  const payload = fields.payload();
  if (payload === undefined) throw fields.refuse("data", "is required, or b64data");
  if (fields.has("tags")) {
    throw fields.refuse("tags", "are not supported: put them into the data");
  }
  if (fields.boolean("delta")) {
    throw new ApiError("notAvailable", "delta is not available: publish without it");
  }
  const key = fields.string("idempotency_key");
  if (key.length > MAX_KEY_LENGTH) {
    throw fields.refuse("idempotency_key", `must have at most ${MAX_KEY_LENGTH} characters`);
  }
  const number = fields.unsigned("version");
  const epoch = fields.string("version_epoch");
  return {
    options: {
      payload,
      ...(fields.boolean("skip_history") ? { ephemeral: true } : {}),
      ...(key === "" ? {} : { idempotencyKey: key }),
    },
    version: number === 0n ? undefined : { number, epoch },
  };
}

async function publishTo(
  { hub, versions, publisher }: ApiContext,
  channel: string,
  { options, version }: PublishRequest,
): Promise<string> {
  const remark = version && `version ${version.number} of ${version.epoch}`;
  const draft = createDraft({ channel, ...options, publisher, remark });
  const append = () => hub.publish(draft);
  const receipt = version === undefined ? await append() : await versions.publish(draft, version, append);
  if (receipt !== undefined) return encodePosition(receipt);
  const top = await hub.read({ selector: selectChannel(channel), after: { kind: "latest" }, limit: 0 });
  return encodePosition(top.position);
}

/** The position of a message; a transient one has none. */
function encodePosition({ offset, epoch }: Position): string {
  return offset === 0 ? "{}" : JSON.stringify({ offset, epoch });
}
