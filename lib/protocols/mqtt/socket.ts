/** What the hub sees of an MQTT connection: a socket and an encoder for what goes round the session's numbering. */
import type { Message } from "../../core/message.ts";
import { type Encoder, Frame, type Socket } from "../../core/socket.ts";

/** A message that is not encoded yet: each session does that its own way. */
class MessageFrame extends Frame {
  readonly message: Message;

  constructor(message: Message) {
    super(message.payload.kind === "bytes" ? message.payload.bytes : message.payload.text);
    this.message = message;
  }
}

export const MQTT_ENCODER: Encoder = { kind: "single", encode: (message) => new MessageFrame(message) };

/** Passes packets on to the connection, and messages to the session. */
export class SessionSocket implements Socket {
  readonly id: string;
  readonly #socket: Socket;
  readonly #onMessage: (message: Message) => void;
  readonly #onDrained: () => Promise<void>;

  /** @param onDrained resolves when the session has nothing waiting */
  constructor(socket: Socket, onMessage: (message: Message) => void, onDrained: () => Promise<void>) {
    this.id = socket.id;
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.#onDrained = onDrained;
  }

  send(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (frame instanceof MessageFrame) this.#onMessage(frame.message);
      else this.#socket.send([frame]);
    }
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes;
  }

  async drained(): Promise<void> {
    await this.#onDrained();
    await this.#socket.drained();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }
}
