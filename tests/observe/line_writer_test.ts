/** The queue in front of stderr: order, and what becomes of readers that stop reading or go away. */
import assert from "node:assert/strict";
import { LineWriter, type Sink } from "../../lib/observe/line_writer.ts";

/** A sink that takes three bytes at a time, as pipes may, and only when it is let. */
class FakeSink implements Sink {
  text = "";
  broken = false;
  #open = true;
  #wake: () => void = () => {};

  stall(): void {
    this.#open = false;
  }

  resume(): void {
    this.#open = true;
    this.#wake();
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (!this.#open) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.writeSync(bytes);
  }

  writeSync(bytes: Uint8Array): number {
    if (this.broken) throw new Deno.errors.BrokenPipe();
    this.text += new TextDecoder().decode(bytes.subarray(0, 3));
    return Math.min(bytes.length, 3);
  }
}

function endTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

Deno.test("LineWriter.write() writes every line, in order, however little the sink takes at once", async () => {
  const sink = new FakeSink();
  const writer = new LineWriter(sink);
  for (let i = 0; i < 20; i++) writer.write(`line ${i}\n`);
  await endTurn();
  assert.equal(sink.text, Array.from({ length: 20 }, (_, i) => `line ${i}\n`).join(""));
});

Deno.test("LineWriter.write() drops and counts lines beyond what may wait for a stalled reader", async () => {
  const sink = new FakeSink();
  sink.stall();
  const writer = new LineWriter(sink);
  writer.write("first\n");
  await endTurn();
  const line = "x".repeat(1_023) + "\n";
  for (let i = 0; i < 1_500; i++) writer.write(line);
  writer.flush();
  assert.equal(sink.text, "");
  sink.resume();
  for (let i = 0; i < 10 && !sink.text.includes("dropped"); i++) await endTurn();
  assert.match(sink.text, /^first\n(x{1023}\n){1024}warn: log lines dropped count=476\n$/);
});

Deno.test("LineWriter.write() gives up a sink that fails, and throws nothing", async () => {
  const sink = new FakeSink();
  sink.broken = true;
  const writer = new LineWriter(sink);
  writer.write("lost\n");
  await endTurn();
  writer.write("lost too\n");
  writer.flush();
  assert.equal(sink.text, "");
});

Deno.test("LineWriter.finish() waits for a line written just before", async () => {
  const sink = new FakeSink();
  sink.stall();
  const writer = new LineWriter(sink);
  writer.write("stopped\n");
  const finished = writer.finish(60_000);
  setImmediate(() => sink.resume());
  await finished;
  assert.equal(sink.text, "stopped\n");
});

Deno.test("LineWriter.write() still writes after a flush that came before its turn", async () => {
  const sink = new FakeSink();
  const writer = new LineWriter(sink);
  writer.write("first\n");
  writer.flush();
  await endTurn();
  writer.write("second\n");
  await endTurn();
  assert.equal(sink.text, "first\nsecond\n");
});
