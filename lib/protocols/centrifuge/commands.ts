/** Answers the commands of a connected client. Its session hands them over in order. */
import type { AllowedPublish } from "../../auth/callouts.ts";
import { Serial } from "../../base/serial.ts";
import { normalizeChannel, parseChannel } from "../../core/channel.ts";
import { describeSender } from "../../core/client.ts";
import { checkSize, createDraft } from "../../core/draft.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Payload } from "../../core/message.ts";
import type { Connection } from "../../core/limits.ts";
import { parseOr } from "../../http/problem.ts";
import type { CentrifugeChannels } from "./channels.ts";
import type { Command, PublishRequest, RefreshResult, Reply } from "./codec.ts";
import type { ChannelOwner } from "./context.ts";
import { answerHistory, answerPresence, answerPresenceStats } from "./queries.ts";

/** Messages of one client that may wait for the application. */
const MAX_WAITING_MESSAGES = 1_024;

/** What the message that removes a key says. */
const NO_DATA: Payload = { kind: "json", text: "null" };

/** A command that has an answer. */
export type AnsweredCommand = Exclude<Command, { kind: "pong" | "connect" }>;

export interface CommandsOptions {
  readonly session: ChannelOwner;
  readonly channels: CentrifugeChannels;
  readonly connection: Connection;
  /** Takes a new token for the connection. */
  refresh(token: string): Promise<RefreshResult>;
}

export class CentrifugeCommands {
  readonly #options: CommandsOptions;
  /** Messages that wait for the application. */
  readonly #asked = new Serial();
  /** Removals of keys under way, and what was published to the same keys after them. */
  readonly #removals = new Map<string, Serial>();

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  /**
   * Answers a command; what answers itself, at the right moment, resolves to undefined.
   *
   * @throws {MessagingError} what the command is to be answered with
   */
  async answer(asked: AnsweredCommand): Promise<Reply | undefined> {
    const { session, channels } = this.#options;
    const { context } = session;
    const { id } = asked;
    const command = this.#normalize(asked);
    switch (command.kind) {
      case "subscribe":
        await channels.subscribe(
          command.request,
          (result) => session.sendSubscribed(id, result),
          asked.kind === "subscribe" ? asked.request.channel : command.request.channel,
        );
        return undefined;
      case "unsubscribe":
        await channels.unsubscribe(command.request.channel);
        return { id, kind: "unsubscribe", result: {} };
      case "publish":
        await this.#publish(command.request);
        return { id, kind: "publish", result: {} };
      case "presence":
        session.demand("presence", command.request.channel, channels.tie(command.request.channel));
        return {
          id,
          kind: "presence",
          result: await session.inHeavyTurn(async () => {
            const result = await answerPresence(context.hub, command.request.channel);
            await session.format.codec.prepare("presence", result);
            return result;
          }),
        };
      case "presence_stats":
        session.demand("presence", command.request.channel, channels.tie(command.request.channel));
        return {
          id,
          kind: "presence_stats",
          result: await answerPresenceStats(context.hub, command.request.channel),
        };
      case "history":
        session.demand("history", command.request.channel, channels.tie(command.request.channel));
        return {
          id,
          kind: "history",
          result: await session.inHeavyTurn(async () => {
            const result = await answerHistory(context.hub, command.request);
            await session.format.codec.prepare("history", result);
            return result;
          }),
        };
      case "ping":
        return { id, kind: "ping", result: {} };
      case "send":
        // The server has no handler for messages that expect no answer.
        return undefined;
      case "rpc": {
        const { method, data } = command.request;
        if (data !== undefined) checkSize(data, context.settings.maxMessageBytes);
        return { id, kind: "rpc", result: { data: await context.gate.call(session.pass, method, data) } };
      }
      case "refresh":
        return { id, kind: "refresh", result: await this.#options.refresh(command.request.token) };
      case "sub_refresh":
        return { id, kind: "sub_refresh", result: await channels.refresh(command.request) };
    }
  }

  /** The command with its channel in normal form, checked before rules are looked up by it. */
  #normalize<C extends AnsweredCommand>(command: C): C {
    if (!("channel" in command.request)) return command;
    const { channel } = command.request;
    // Ending what was never begun is no mistake.
    const isEnd = command.kind === "unsubscribe";
    const name = isEnd ? normalizeChannel(channel) : parseOr("bad_channel", () => parseChannel(channel));
    if (!isEnd) this.#options.session.context.hub.checkName(name);
    return name === channel ? command : { ...command, request: { ...command.request, channel: name } };
  }

  async #publish(request: PublishRequest): Promise<void> {
    const { channel } = request;
    const target = readTarget(request);
    const data = target?.removed === true ? NO_DATA : request.data;
    if (data === undefined) throw new MessagingError("bad_request", "A publish needs data");
    const { session, channels, connection } = this.#options;
    const { client, pass, context } = session;
    const tie = channels.tie(channel);
    const isAsked = pass.asks("publish", channel, tie);
    if (!isAsked) session.demand("publish", channel, tie);
    connection.countPublish();
    // Here, so that no application is asked about what is refused anyway.
    checkSize(data, context.settings.maxMessageBytes);
    const publish = async (content: AllowedPublish) => {
      const from = describeSender(client);
      const owner = target && context.limits.shares.ownerOf(connection.address, pass);
      const draft = createDraft({ channel, ...content, ...target, owner, from, socketId: client.socket.id });
      // What is not there need not be removed.
      if (target?.removed === true && !await context.hub.maps.has(channel, target.key)) return;
      await context.hub.publish(draft);
    };
    if (!isAsked) return await this.#afterRemovals(channel, target, () => publish({ payload: data }));
    if (this.#asked.waiting >= MAX_WAITING_MESSAGES) {
      throw new MessagingError("too_many_requests", `At most ${MAX_WAITING_MESSAGES} messages may wait`);
    }
    // In the order in which they came, however long the application takes for each.
    await this.#asked.run(async () => await publish(await session.pass.admitPublish(channel, data, tie)));
  }

  /** Runs a publish once removals of the same key are done, which take longer, so that it does not overtake them. */
  async #afterRemovals(
    channel: string,
    target: ReturnType<typeof readTarget>,
    publish: () => Promise<void>,
  ): Promise<void> {
    if (target === undefined) return await publish();
    // No name of a channel has a line end.
    const id = `${channel}\n${target.key}`;
    let serial = this.#removals.get(id);
    if (serial === undefined) {
      if (target.removed !== true) return await publish();
      this.#removals.set(id, serial = new Serial());
    }
    try {
      await serial.run(publish);
    } finally {
      if (serial.waiting === 0) this.#removals.delete(id);
    }
  }
}

/** The key that a publish is for, in a map; undefined for a stream. */
function readTarget({ type, key, removed }: PublishRequest) {
  if (type === 0) return undefined;
  if (type !== 1) throw new MessagingError("not_available", "Only streams and maps can be published to");
  if (key === "") throw new MessagingError("bad_request", "A publish to a map needs a key");
  return { key, removed };
}
