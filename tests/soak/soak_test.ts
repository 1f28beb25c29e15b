/** A short soak, and proof that the ledger sees what it is there for. `deno task soak` is the long one. */
import assert from "node:assert/strict";
import { type ChannelLedger, Ledger } from "./ledger.ts";
import { formatReport, HEAP_SLOPE, runSoak } from "./soak_run.ts";
import { findRange } from "./gauge.ts";
import { Random } from "./random.ts";

const SECONDS = 10;
const KEPT = 10;

const isLinux = Deno.build.os === "linux";

Deno.test({
  name: `Nothing is lost, doubled or left behind over ${SECONDS} seconds of soak` +
    (isLinux ? "" : " (skipped: memory and descriptors are read from /proc, which only Linux has)"),
  ignore: !isLinux,
  fn: soakShortly,
});

async function soakShortly(): Promise<void> {
  const folder = await Deno.makeTempDir();
  const report = await runSoak({
    seconds: SECONDS,
    seed: 1,
    flags: ["--engine", `sqlite:${folder}/raindrops.db`],
  });
  await Deno.remove(folder, { recursive: true });
  assert.deepEqual(report.faults, [], formatReport(report));
  assert.ok(report.acknowledged > 0 && report.counts.resumes > 0 && report.counts.vanished > 0);
}

/** A channel with messages that were begun, acknowledged and seen by the witness. */
function createChannel(stored: number): { ledger: Ledger; channel: ChannelLedger; keys: string[] } {
  const ledger = new Ledger([{ name: "news", weight: 1, sizes: [0, 1] }], KEPT);
  const channel = ledger.channels[0]!;
  const keys = Array.from({ length: stored }, (_, i) => store(channel, i));
  return { ledger, channel, keys };
}

function store(channel: ChannelLedger, number: number): string {
  const key = channel.begin("p", number);
  channel.acknowledge(key, channel.length + 1);
  channel.record(channel.length + 1, key);
  return key;
}

interface Case {
  readonly name: string;
  readonly fault: RegExp | undefined;
  play(play: ReturnType<typeof createChannel>): void;
}

const CASES: readonly Case[] = [
  {
    name: "a reader that gets everything",
    fault: undefined,
    play({ channel }) {
      const track = channel.follow("r");
      track.expectNew();
      track.opened();
      for (let i = 3; i < 6; i++) track.take(store(channel, i));
    },
  },
  {
    name: "a message that comes before the witness has it",
    fault: undefined,
    play({ channel }) {
      const track = channel.follow("r");
      track.expectNew();
      track.opened();
      const key = channel.begin("p", 3);
      track.take(key);
      channel.record(4, key);
    },
  },
  {
    name: "a message that a subscribed reader misses",
    fault: /r on news was subscribed and misses #0:p:3:/,
    play({ channel }) {
      const track = channel.follow("r");
      track.expectNew();
      track.opened();
      store(channel, 3);
      track.take(store(channel, 4));
    },
  },
  {
    name: "a message from before",
    fault: /got the old message #0:p:2:/,
    play({ channel, keys }) {
      const track = channel.follow("r");
      track.expectNew();
      track.take(keys[2]!);
    },
  },
  {
    name: "a hole after a resume",
    fault: /misses 1 messages from #0:p:1:/,
    play({ channel, keys }) {
      const track = channel.follow("r");
      track.takeStart(1);
      track.expectRest();
      track.take(keys[2]!);
    },
  },
  {
    name: "a message that comes twice",
    fault: /got #0:p:1: twice or too late/,
    play({ channel, keys }) {
      const track = channel.follow("r");
      track.takeStart(1);
      track.take(keys[1]!);
      track.take(keys[1]!);
    },
  },
  {
    name: "the last message that never comes",
    fault: /r on news is at 2 of 3 at the end/,
    play({ channel, keys }) {
      const track = channel.follow("r");
      track.takeStart(1);
      track.take(keys[1]!);
    },
  },
  {
    name: "a gap where nothing can be gone",
    fault: /was told of a gap behind 1, of 3 messages/,
    play({ channel }) {
      const track = channel.follow("r");
      track.takeStart(1);
      track.takeGap();
    },
  },
  {
    name: "a gap, and all that is kept behind it",
    fault: undefined,
    play({ channel, keys }) {
      for (let i = 3; i < 3 + 2 * KEPT; i++) keys.push(store(channel, i));
      const track = channel.follow("r");
      track.takeStart(1);
      track.takeGap();
      for (const key of keys.slice(-KEPT)) track.take(key);
    },
  },
  {
    name: "a gap, and less than what is kept behind it",
    fault: /misses 1. messages from #0:p:1: .* after a gap/,
    play({ channel, keys }) {
      for (let i = 3; i < 3 + 2 * KEPT; i++) keys.push(store(channel, i));
      const track = channel.follow("r");
      track.takeStart(1);
      track.takeGap();
      for (const key of keys.slice(-KEPT + 1)) track.take(key);
    },
  },
  {
    name: "an acknowledged message that is not stored",
    fault: /#0:p:3: was acknowledged and is lost/,
    play: ({ channel }) => channel.acknowledge(channel.begin("p", 3)),
  },
  {
    name: "a message that is stored elsewhere than acknowledged",
    fault: /#0:p:3: was acknowledged as 9 and is stored as 4/,
    play({ channel }) {
      const key = channel.begin("p", 3);
      channel.acknowledge(key, 9);
      channel.record(4, key);
    },
  },
  {
    name: "a message that is stored twice",
    fault: /#0:p:0: is stored twice, first at 1/,
    play: ({ channel, keys }) => channel.record(4, keys[0]!),
  },
  {
    name: "an offset that is left out",
    fault: /came to the witness where offset 4 was due/,
    play: ({ channel }) => channel.record(5, channel.begin("p", 3)),
  },
  {
    name: "a publisher's messages out of order",
    fault: /#0:p:4: is stored where number 3 of its publisher was due/,
    play({ channel }) {
      channel.begin("p", 3);
      channel.record(4, channel.begin("p", 4));
    },
  },
  {
    name: "a message whose request never ended",
    fault: /is stored though its request was never finished/,
    play({ channel }) {
      const key = channel.begin("p", 3);
      channel.forbid(key);
      channel.record(4, key);
    },
  },
];

for (const { name, fault, play } of CASES) {
  Deno.test(`Ledger ${fault === undefined ? "lets pass" : "sees"} ${name}`, () => {
    const stage = createChannel(3);
    play(stage);
    stage.ledger.settle();
    const faults = stage.ledger.faults.join("\n");
    if (fault === undefined) assert.equal(faults, "");
    else assert.match(faults, fault);
  });
}

Deno.test("findRange() tells a leak from the ups and downs of garbage", () => {
  // Collections every 70 to 110 s, none of which takes all of the garbage, and one that does not come.
  const slope = (perMinute: number, seed: number) => {
    const random = new Random(seed);
    let garbage = 0;
    let next = 60;
    const samples = Array.from({ length: 1_200 }, (_, time) => {
      garbage += 0.4;
      if (time >= next) {
        next = time + 70 + Math.floor(random.fraction() * 40) + (time > 500 && time < 600 ? 100 : 0);
        garbage = Math.floor(random.fraction() * 20) / 10;
      }
      const heap = (40 + garbage + perMinute * time / 60) * 1024 ** 2;
      return { time, memory: 0, heap, descriptors: 10 };
    });
    return findRange(samples, "heap").slope;
  };
  for (let seed = 1; seed <= 200; seed++) {
    assert.ok(slope(0, seed) < HEAP_SLOPE, `no leak, seed ${seed}`);
    assert.ok(slope(0.3, seed) > HEAP_SLOPE, `a leak of 0.3 MiB a minute, seed ${seed}`);
  }
});
