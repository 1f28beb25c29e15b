/** The methods of the HTTP API that publish a message: to one channel, or to many. */
import { SliceClock } from "../base/slices.ts";
import { parseChannel, selectChannel } from "../core/channel.ts";
import type { Position } from "../core/log.ts";
import { createDraft, type DraftOptions, MAX_KEY_LENGTH } from "../core/draft.ts";
import type { ApiContext } from "./context.ts";
import type { Fields } from "./fields.ts";
import { parseWhen, type When } from "../core/schedule/when.ts";
import { formatTime, type Payload, payloadSize } from "../core/message.ts";
import { parseOr } from "../http/problem.ts";
import type { Version } from "./versions.ts";

/** What the message that removes a key says. */
const NO_DATA: Payload = { kind: "json", text: "null" };

/** Most channels of one broadcast. */
export const MAX_BROADCAST_CHANNELS = 10_000;

/** Bytes that a broadcast gives the engine in one turn. */
const SLICE_BYTES = 1024 * 1024;

/** The message of a request, without the channel. */
interface PublishRequest {
  readonly options: Omit<DraftOptions, "channel">;
  /** Undefined for a publish without a version. */
  readonly version: Version | undefined;
  /** When it is published; at once if undefined. */
  readonly when: When | undefined;
}

/** @param isRemoval whether the key that the request names is removed, as its field `removed` may say too */
export async function publish(
  context: ApiContext,
  fields: Fields,
  { isRemoval = false }: { readonly isRemoval?: boolean } = {},
): Promise<string> {
  const channel = fields.channel();
  return await publishTo(context, channel, parsePublishRequest(fields, isRemoval));
}

/**
 * Answers for each channel separately: a failure does not stop the others. Many messages or bytes are sent in slices.
 */
export async function broadcast(
  context: ApiContext,
  fields: Fields,
  describeError: (error: unknown) => string,
): Promise<string> {
  const channels = fields.strings("channels", MAX_BROADCAST_CHANNELS, "names: send several broadcasts");
  if (channels.length === 0) throw fields.refuse("channels", "is required: name at least one");
  const request = parsePublishRequest(fields);
  const publishToNamed = async (name: string) => {
    try {
      const channel = parseOr("bad_channel", () => parseChannel(name));
      return `{"result":${await publishTo(context, channel, request)}}`;
    } catch (error) {
      return `{"error":${describeError(error)}}`;
    }
  };
  const size = payloadSize(request.options.payload);
  const slice = new SliceClock();
  const responses: Promise<string>[] = [];
  let bytes = 0;
  for (const name of channels) {
    bytes += size;
    if (bytes > SLICE_BYTES || slice.isOver) {
      await slice.next();
      bytes = size;
    }
    responses.push(publishToNamed(name));
  }
  return `{"responses":[${(await Promise.all(responses)).join(",")}]}`;
}

function parsePublishRequest(fields: Fields, isRemoval = false): PublishRequest {
  const removed = isRemoval || fields.boolean("removed");
  const payload = removed ? NO_DATA : fields.payload();
  if (payload === undefined) throw fields.refuse("data", "is required, or b64data");
  // Whoever asked for deltas gets them, whether the publisher wants them or not.
  fields.boolean("delta");
  const key = fields.string("idempotency_key");
  if (key.length > MAX_KEY_LENGTH) {
    throw fields.refuse("idempotency_key", `must have at most ${MAX_KEY_LENGTH} characters`);
  }
  const number = fields.unsigned("version");
  const epoch = fields.string("version_epoch");
  const when = parseWhen(fields.scalar("at"), fields.scalar("delay"));
  const mapKey = fields.string("key");
  if (mapKey !== "" && number !== 0n) {
    throw fields.refuse("version", "is that of a channel, not of a key: leave out one of them");
  }
  if (when !== undefined && number !== 0n) {
    throw fields.refuse("version", "cannot be that of a message for later: leave out one of them");
  }
  return {
    options: {
      payload,
      tags: fields.tags("tags"),
      key: mapKey === "" ? undefined : mapKey,
      removed,
      ...(fields.boolean("skip_history") ? { ephemeral: true } : {}),
      ...(key === "" ? {} : { idempotencyKey: key }),
    },
    version: number === 0n ? undefined : { number, epoch },
    when,
  };
}

async function publishTo(
  { hub, versions, publisher, scheduler }: ApiContext,
  channel: string,
  { options, version, when }: PublishRequest,
): Promise<string> {
  const remark = version && `version ${version.number} of ${version.epoch}`;
  const draft = createDraft({ channel, ...options, publisher, remark });
  if (when !== undefined) {
    const { id, due } = await scheduler.schedule(draft, when, publisher);
    return JSON.stringify({ scheduled: id, at: formatTime(due) });
  }
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
