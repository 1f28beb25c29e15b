/**
 * Maps channel names to NATS subjects and back. A segment of a channel becomes a token of a subject; characters that a
 * token cannot contain are percent-encoded, which is unambiguous as channel names have no percent sign. So `a.b/c`
 * becomes `raindrops.c.a%2Eb.c`, and every channel pattern has an equivalent subject pattern.
 */

/** Characters to encode: the dot, and all that channel names cannot contain. */
const ESCAPED = /[^A-Za-z0-9_\-=@,;:#$~!'()+]/gu;

const encoder = new TextEncoder();

/** The subjects of one stream; all begin with its name. */
export class JetStreamSubjects {
  /** All subjects that the stream stores. */
  readonly stored: readonly string[];
  /** Claims of idempotency keys by transient messages. */
  readonly claims: string;
  /** Prefix of a node's transient messages. The stream stores neither these nor the following subjects. */
  readonly transient: string;
  /** Prefix of a node's announcements of purges. */
  readonly purged: string;
  /** Prefix of the topics of the cluster's bus. */
  readonly bus: string;
  /** Prefix of what services remember, in a stream of its own. */
  readonly state: string;
  readonly #messages: string;

  constructor(stream: string) {
    this.#messages = `${stream}.c.`;
    this.claims = `${stream}.k.`;
    this.stored = [`${this.#messages}>`, `${this.claims}>`];
    this.transient = `${stream}.t.`;
    this.purged = `${stream}.p.`;
    this.bus = `${stream}.b.`;
    this.state = `${stream}.s.`;
  }

  /** The subject of a channel's messages. */
  messages(channel: string): string {
    return this.#messages + encodeChannel(channel);
  }

  /** The subject of a channel's claims. */
  claim(channel: string): string {
    return this.claims + encodeChannel(channel);
  }

  /** The channel of a stored subject, or undefined if it is not one of ours. */
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
