/** MQTT topics and filters as channels and selectors, and back. */
import { parseChannel, type Selector, selectPatterns } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";

/** A filter that a client subscribes to. */
export interface Filter {
  readonly selector: Selector;
  /** The group of a shared subscription. */
  readonly group: string | undefined;
}

/**
 * The channel of a topic: they have the same names.
 *
 * @throws {SyntaxError} for a topic that is no channel name
 */
export function parseTopic(topic: string): string {
  if (topic.startsWith("$")) {
    throw new SyntaxError(`Topic "${topic}": those that begin with $ are the server's`);
  }
  if (/[+#]/.test(topic)) throw new SyntaxError("A topic to publish to has no wildcards");
  return parseChannel(topic);
}

/**
 * Parses a topic filter: `+` is `*`, and a final `#` is `**` with the level above it. `$share/GROUP/FILTER` is shared.
 *
 * @throws {SyntaxError} for a filter outside the grammar of channels
 */
export function parseFilter(text: string): Filter {
  const shared = /^\$share\/([^/+#]+)\/(.+)$/s.exec(text);
  const filter = shared?.[2] ?? text;
  if (filter.startsWith("$")) {
    throw new SyntaxError(`Filter "${text}": topics that begin with $ are the server's`);
  }
  const segments = filter.split("/");
  const names = segments.map((segment, i) => {
    if (segment === "+") return "*";
    if (segment === "#" && i === segments.length - 1) return "**";
    if (/[+#*]/.test(segment)) {
      throw new SyntaxError(`Filter "${text}": + and # stand for whole levels, # for the last ones`);
    }
    return segment;
  });
  const parent = names.length > 1 && names.at(-1) === "**" ? [names.slice(0, -1).join("/")] : [];
  return { selector: selectPatterns([names.join("/"), ...parent]), group: shared?.[1] };
}

/** The selector of a topic filter; undefined for one that is refused later. */
export function tryParseFilter(topic: string): Selector | undefined {
  try {
    return parseFilter(topic).selector;
  } catch {
    return undefined;
  }
}

/** Whether a selector selects the channels of wildcards, from which topics that begin with `$` are hidden. */
export function isHidden(selector: Selector, channel: string): boolean {
  return selector.channel === undefined && channel.startsWith("$");
}

/** Reads what a client sent. @throws {MessagingError} `bad_channel` for a SyntaxError */
export function toChannelError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new MessagingError("bad_channel", error.message, { cause: error });
  }
}
