/** The form in a channel's drawer, which publishes to it. */
import { ask } from "./connection.ts";
import { find, setText } from "./elements.ts";

/** Makes the form publish to a channel, from now on. */
export function openPublish(channel: string, path: string): void {
  const text = find<HTMLTextAreaElement>("publish-text");
  const result = find("publish-result");
  setText(result, "");
  find<HTMLFormElement>("publish").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const response = await ask(path, {
        method: "POST",
        body: text.value,
        headers: { accept: "application/json", "content-type": "text/plain; charset=utf-8" },
      });
      const { subscribers } = await response.json();
      text.value = "";
      const count = `${subscribers} ${subscribers === 1 ? "subscriber" : "subscribers"}`;
      setText(result, `Published to ${channel}, ${count}.`);
    } catch (error) {
      setText(result, error instanceof Error ? error.message : String(error));
    }
  };
}
