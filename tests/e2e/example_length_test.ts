/**
 * The examples stay short enough to read in a minute. Apart from the tests with pages, whose browser and server work
 * in the background of a whole file, so that the sanitizers watch these.
 */
import assert from "node:assert/strict";

for (const example of ["hello", "chat", "raindrops", "cursors"]) {
  Deno.test(`Script of the ${example} example is under 80 lines`, async () => {
    const script = await Deno.readTextFile(new URL(`../../static/examples/${example}.ts`, import.meta.url));
    assert(script.trimEnd().split("\n").length < 80);
  });
}
