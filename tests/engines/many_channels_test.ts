/** Reads of lists and patterns over many channels, dense and sparse, while more come: every page is right. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { matchesSelector, selectPatterns } from "../../lib/core/channel.ts";
import { createDraft } from "../../lib/core/draft.ts";
import type { Cursor } from "../../lib/core/log.ts";
import type { Message } from "../../lib/core/message.ts";
import { NATS_SERVER, NatsCluster } from "../nats_cluster.ts";
import { startApp } from "../test_app.ts";

const CHANNELS = 600;
const SELECTORS = [
  ["**"],
  ["room/*"],
  ["room/*", "other/1", "other/3"],
  ["other/1", "other/2", "nowhere"],
  ["*/7", "room/8/**"],
];

for (const engine of ["memory", "sqlite", "jetstream"] as const) {
  // Without NATS there is no such engine: the tests of `tests/cluster` say how to get it.
  const ignore = engine === "jetstream" && NATS_SERVER === undefined;
  const name = `The ${engine} engine reads every message of many channels once and in order`;
  Deno.test({ name, ignore }, async () => {
    const folder = await Deno.makeTempDir();
    {
      await using nats = engine === "jetstream" ? await NatsCluster.start(1) : undefined;
      const urls = { memory: "memory:", sqlite: `sqlite:${join(folder, "log.db")}` };
      const url = nats === undefined ? urls[engine as keyof typeof urls] : `nats://${nats.hosts}?stream=many`;
      await using app = await startApp("--engine", url);
      const { hub } = app.app;
      const stored: Message[] = [];
      hub.observe((messages) => stored.push(...messages));
      const publish = async (round: number) => {
        const names = Array.from(
          { length: CHANNELS },
          (_, i) => i % 5 === 0 ? `other/${i}` : `room/${i * round}`,
        );
        const drafts = names.map((channel) =>
          createDraft({ channel, payload: { kind: "text", text: String(round) } })
        );
        await Promise.all(drafts.map((draft) => hub.publish(draft)));
      };
      await publish(1);
      await publish(2);
      for (const names of SELECTORS) {
        const selector = selectPatterns(names);
        const expected = () =>
          stored.filter(({ channel }) => matchesSelector(selector, channel)).map(({ sequence }) => sequence);
        const latest = await hub.read({ selector, after: { kind: "latest" }, limit: 100 });
        assert.deepEqual(latest.messages.map(({ sequence }) => sequence), expected().slice(-100));

        const found: number[] = [];
        let after: Cursor = { kind: "earliest" };
        for (let isFirst = true;; isFirst = false) {
          const reading = hub.read({ selector, after, limit: 97 });
          // New channels and messages come while the first page is read.
          if (isFirst) await publish(3 + SELECTORS.indexOf(names));
          const page = await reading;
          assert.equal(page.kind, "complete");
          found.push(...page.messages.map(({ sequence }) => sequence));
          after = page.next;
          if (!page.more && page.next.sequence === hub.top.sequence) break;
        }
        assert.deepEqual(found, expected(), names.join());
      }
    }
    await Deno.remove(folder, { recursive: true });
  });
}
