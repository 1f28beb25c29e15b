/** The Hello example in real browsers. */
import { expect } from "playwright/test";
import { expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Hello page gets World! for Hello, alone", async ({ open }) => {
  const [asker, other] = [await open("/_examples/hello"), await open("/_examples/hello")];
  await expectLive(asker);
  await expectLive(other);

  await asker.locator("#box").fill("Hello");
  await asker.getByRole("button", { name: "Submit" }).click();
  await expect(asker.locator("#log li")).toHaveText(["Sent: Hello", "Received: World!"]);
  await expect(asker.locator("#box")).toHaveValue("");
  // The other page gets the text like any other, and no answer.
  await asker.locator("#box").fill("Bye");
  await asker.locator("#box").press("Enter");
  await expect(other.locator("#log li")).toHaveText(["Received: Hello", "Received: Bye"]);
  await expect(asker.locator("#log li")).toHaveText(["Sent: Hello", "Received: World!", "Sent: Bye"]);
});
