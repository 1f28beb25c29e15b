/**
 * The server's ends of simulated connections that do not speak the plain protocol: as event streams do, each message with
 * its id and each gap told on the way; and as Centrifuge does, a page of history to open with.
 */
import { createClient } from "../../lib/core/client.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import type { Hub } from "../../lib/core/hub.ts";
import type { Connection } from "../../lib/core/limits.ts";
import type { Cursor, LogPage } from "../../lib/core/log.ts";
import { encodeMessageJson, formatId, type Message } from "../../lib/core/message.ts";
import { Outbox } from "../../lib/core/outbox.ts";
import { findResumeId } from "../../lib/core/replay.ts";
import { type Encoder, Frame, type Socket, type SocketHandler } from "../../lib/core/socket.ts";
import type { Client } from "../../lib/core/client.ts";
import type { Services } from "../../lib/protocols/protocol.ts";
import type { Selector } from "../../lib/core/channel.ts";

/** What a subscriber asks for, already admitted. */
export interface SessionRequest {
  readonly id: string;
  readonly selector: Selector;
  readonly connection: Connection;
  readonly since: Cursor | undefined;
  readonly limit: number | undefined;
  /** Called when the server tells a gap. */
  onGap(): void;
}

/** What such a connection sends: messages, and these. */
export type Notice =
  /** Where to resume before the first message. */
  | { readonly open: string }
  /** Messages are gone; resume after this id. */
  | { readonly gap: string }
  /** The page was too short for everything up to this id. */
  | { readonly skip: string };

const ENCODER: Encoder = {
  kind: "single",
  encode: (message: Message) => new Frame(encodeMessageJson(message)),
};

/** As many messages as an opening page holds. */
const PAGE = 10;

abstract class Session implements SocketHandler {
  protected readonly hub: Hub;
  protected readonly request: SessionRequest;
  readonly #services: Services;
  #client: Client | undefined;

  constructor(services: Services, request: SessionRequest) {
    this.#services = services;
    this.hub = services.hub;
    this.request = request;
  }

  open(socket: Socket): void {
    const { id, connection } = this.request;
    const client = createClient({
      id,
      choseId: true,
      connection,
      protocol: "simulated",
      socket,
      outbox: new Outbox(socket, this.#services.outboxLimits),
      encoder: ENCODER,
      echo: true,
      end: (error) => {
        socket.close(error.close, error.code);
        if (error.code === "slow_subscriber") socket.terminate();
        this.close();
      },
    });
    this.#client = client;
    if (!this.hub.connect(client)) return;
    this.start(client);
  }

  protected abstract start(client: Client): void;

  message(): void {}

  close(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) this.hub.disconnect(client);
  }

  protected tell(client: Client, notice: Notice): void {
    client.socket.send([new Frame(JSON.stringify(notice))]);
  }
}

/** As an event stream: goes on after a gap. */
export class StreamSession extends Session {
  protected start(client: Client): void {
    const { selector, since, limit, onGap } = this.request;
    if (since === undefined) {
      const { epoch, sequence } = this.hub.top;
      this.tell(client, { open: formatId(epoch, sequence) });
    }
    this.hub.subscribe(client, selector, {
      since,
      limit,
      onGap: (gap) => {
        onGap();
        this.tell(client, { gap: findResumeId(gap) });
        return true;
      },
      onLimit: () => client.socket.close(1000, "limit"),
    });
  }
}

/** Opens with one page of history in one frame, as Centrifuge recovers. */
export class OpeningSession extends Session {
  protected start(client: Client): void {
    const { selector, since } = this.request;
    const { epoch, sequence } = this.hub.top;
    const after = since ?? { kind: "id", epoch, sequence };
    const onOpen = (page: LogPage, announced: readonly Message[]) => {
      const parts: string[] = [];
      if (page.kind === "gap") {
        this.request.onGap();
        parts.push(JSON.stringify({ gap: findResumeId(page) }));
      } else if (since === undefined) parts.push(JSON.stringify({ open: formatId(epoch, sequence) }));
      parts.push(...page.messages.map(encodeMessageJson));
      // What lies between the page and now is left out, as by a client that did not recover.
      const { top } = this.hub;
      if (page.more) parts.push(JSON.stringify({ skip: formatId(top.epoch, top.sequence) }));
      parts.push(...announced.map(encodeMessageJson));
      if (client.outbox.offer([new Frame(`[${parts.join()}]`)])) return;
      client.end(new MessagingError("slow_subscriber", "Too much history"));
    };
    this.hub.subscribe(client, selector, { opening: { after, limit: PAGE, onOpen } });
  }
}
