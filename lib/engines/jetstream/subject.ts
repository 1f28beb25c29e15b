/**
 * Channel names as NATS subjects and back. A segment of a channel is a token of a subject; what a token cannot hold is
 * percent-encoded, as no channel name has a percent sign of its own. So `a.b/c` is `raindrops.c.a%2Eb.c`, and every
 * pattern of channels has its pattern of subjects.
 */

/** What a token holds as it is: all that the grammar of channels allows, but for the dot. */
const ESCAPED = /[^A-Za-z0-9_\-=@,;:#$~!'()+]/gu;

const encoder = new TextEncoder();

/** The subjects of one stream, which all begin with its name. */
export class JetStreamSubjects {
  /** Everything the stream stores. */
  readonly stored: readonly string[];
  /** Claims of idempotency keys for messages that are not stored. */
  readonly claims: string;
  /** Messages that are delivered and not stored, before the node; the stream does not listen here or further on. */
  readonly transient: string;
  /** How far a node had messages removed, before the node. */
  readonly purged: string;
  /** What nodes say to each other, before the topic. */
  readonly bus: string;
  readonly #messages: string;

  constructor(stream: string) {
    this.#messages = `${stream}.c.`;
    this.claims = `${stream}.k.`;
    this.stored = [`${this.#messages}>`, `${this.claims}>`];
    this.transient = `${stream}.t.`;
    this.purged = `${stream}.p.`;
    this.bus = `${stream}.b.`;
  }

  /** Where a channel's messages are stored. */
  messages(channel: string): string {
    return this.#messages + encodeChannel(channel);
  }

  /** Where a channel's claims are stored. */
  claim(channel: string): string {
    return this.claims + encodeChannel(channel);
  }

  /** The channel a stored subject belongs to, or undefined when it is none of ours. */
  readChannel(subject: string): string | undefined {
    const prefix = subject.startsWith(this.#messages) ? this.#messages : this.claims;
    if (!subject.startsWith(prefix)) return undefined;
    try {
      return decodeURIComponent(subject.slice(prefix.length).replaceAll(".", "/"));
    } catch {
      return undefined;
    }
  }
}

function encodeChannel(channel: string): string {
  return channel.split("/").map((segment) => segment.replace(ESCAPED, encodeCharacter)).join(".");
}

function encodeCharacter(character: string): string {
  return Array.from(
    encoder.encode(character),
    (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  )
    .join("");
}
